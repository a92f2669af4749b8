import MartletConfiguration
import MartletCore

/// A file is read, or what is wrong with it is told.
enum ConfigurationFuzzing {
    static func run(_ bytes: [UInt8]) {
        let reading = ConfigurationReading(.bytes(bytes, path: "FILE"), flags: [:], over: Configuration())
        let problems = reading.problems + reading.configuration.problems
        for problem in problems { promise(!problem.key.isEmpty && !problem.why.isEmpty, "\(problem)") }
        guard problems.isEmpty else { return }
        // What is shown is read to the same again.
        let text = Array(ConfigurationText.yaml(reading.configuration).utf8)
        let again = ConfigurationReading(.bytes(text, path: "SHOWN"), flags: [:], over: Configuration())
        promise(again.problems.isEmpty, "\(again.problems)")
        promise(again.configuration == reading.configuration, "another configuration")
    }
}
