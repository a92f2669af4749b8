import Foundation
import Testing

/// What is written for operators covers what the programs do.
@Suite struct DocumentationTests {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private static func text(_ path: String) throws -> String {
        try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
    }

    private static func sources(_ target: String) throws -> [String] {
        let folder = root.appendingPathComponent("Sources/\(target)").path
        let paths = FileManager.default.enumerator(atPath: folder)?.compactMap { $0 as? String } ?? []
        return try paths.filter { $0.hasSuffix(".swift") }.map { try text("Sources/\(target)/\($0)") }
    }

    @Test func `the operating guide says what each line of the log means`() throws {
        let guide = try Self.text("docs/operating.md")
        var count = 0
        for source in try Self.sources("MartletSupervisor") + Self.sources("MartletWorker") {
            for match in source.matches(of: /\blog\.(?:info|warning|error)\(\s*"([^"\\]+)/) {
                count += 1
                let line = match.1.trimmingCharacters(in: .whitespaces)
                #expect(guide.contains("`\(line)"), "'\(line)' is not explained")
            }
        }
        #expect(count > 30)
    }

    @Test func `the operating guide has the id of each event of the service's life`() throws {
        let guide = try Self.text("docs/operating.md")
        let ids = try Self.text("Sources/MartletSupervisor/MessageID.swift").matches(of: /"([0-9a-f]{32})"/)
        #expect(ids.count > 10)
        for id in ids { #expect(guide.contains(id.1)) }
    }

    @Test(arguments: [("martletd", "martletd.8"), ("martletctl", "martletctl.1")])
    func `the manual page has every command and option`(program: String, page: String) throws {
        let manual = try Self.text("docs/man/\(page)").replacingOccurrences(of: "Fl -", with: "--")
        let executable = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let process = Process()
        process.executableURL = URL(fileURLWithPath: executable).deletingLastPathComponent()
            .appendingPathComponent(program)
        process.arguments = ["--experimental-dump-help"]
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let help = try JSONDecoder().decode(Help.self, from: output.fileHandleForReading.readDataToEndOfFile())
        for command in help.command.subcommands ?? [] where command.commandName != "help" {
            #expect(manual.contains(" \(command.commandName)"), "\(command.commandName) is missing")
            for option in (command.arguments ?? []) where option.shouldDisplay {
                guard let name = option.preferredName?.name, option.kind != "positional" else { continue }
                #expect(manual.contains("--\(name)"), "\(command.commandName) --\(name) is missing")
            }
        }
    }

    /// What `--experimental-dump-help` prints.
    private struct Help: Decodable {
        struct Command: Decodable {
            let commandName: String
            let subcommands: [Command]?
            let arguments: [Argument]?
        }

        struct Argument: Decodable {
            struct Name: Decodable { let name: String }

            let kind: String
            let preferredName: Name?
            let shouldDisplay: Bool
        }

        let command: Command
    }
}
