// SPDX-License-Identifier: Apache-2.0

import MartletConfiguration
import MartletCore

/// A file is read, or its problems are reported.
enum ConfigurationFuzzing {
    static func run(_ bytes: [UInt8]) {
        let reading = ConfigurationReading(.bytes(bytes, path: "FILE"), flags: [:], over: Configuration())
        let problems = reading.problems + reading.configuration.problems
        for problem in problems { promise(!problem.key.isEmpty && !problem.why.isEmpty, "\(problem)") }
        guard problems.isEmpty else { return }
        // The text of a configuration gives the same configuration when it is read.
        let text = Array(ConfigurationText.yaml(reading.configuration).utf8)
        let again = ConfigurationReading(.bytes(text, path: "SHOWN"), flags: [:], over: Configuration())
        promise(again.problems.isEmpty, "\(again.problems)")
        promise(again.configuration == reading.configuration, "another configuration")
    }
}
