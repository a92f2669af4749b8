// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import MartletSupervisor

/// The documentation for operators covers what the programs do.
@Suite struct DocumentationTests {
    @Test func `tests, metrics and keys that the security guide names exist`() throws {
        let text = try String(contentsOf: Self.root.appendingPathComponent("docs/security.md"), encoding: .utf8)
        func sources(_ folder: String) throws -> String {
            let base = Self.root.appendingPathComponent(folder)
            let paths = FileManager.default.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? []
            return try paths.filter { $0.hasSuffix(".swift") }.map {
                try String(contentsOf: base.appendingPathComponent($0), encoding: .utf8)
            }.joined(separator: "\n")
        }
        let tests = try sources("Tests")
        let metrics = try String(
            contentsOf: Self.root.appendingPathComponent("Sources/MartletWire/HTTP/MetricsText.swift"),
            encoding: .utf8
        )
        let keys = try String(contentsOf: Self.root.appendingPathComponent("docs/configuration.md"), encoding: .utf8)
        var found = 0
        for match in text.matches(of: /`([^`\n]+)`/) {
            let name = String(match.1)
            if name.hasPrefix("martlet_") {
                if !metrics.contains("\"\(name)\"") { Issue.record("\(name) is no metric") }
            } else if name.hasSuffix("Tests") {
                if !tests.contains("struct \(name)") { Issue.record("\(name) is no suite") }
            } else if name.firstMatch(of: /^(client|api|auth|limits|supervision|metrics|rooms|log)\.[a-z_]+/) != nil {
                let key = name.prefix { $0 != ":" }
                if !keys.contains("`\(key)`") { Issue.record("\(key) is no key") }
            } else if name.split(separator: " ").count > 3, !name.contains("/") {
                if !tests.contains(name) { Issue.record("there is no test '\(name)'") }
                found += 1
            }
        }
        #expect(found > 20)
    }

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

    @Test func `files and suites that the internals name are there`() throws {
        func paths(_ folder: String) -> [String] {
            let base = Self.root.appendingPathComponent(folder).path
            return FileManager.default.enumerator(atPath: base)?.compactMap { $0 as? String } ?? []
        }
        let sources = paths("Sources")
        let suites = try paths("Tests").filter { $0.hasSuffix(".swift") }.map { try Self.text("Tests/\($0)") }.joined()
        var count = 0
        for page in paths("docs/internals") {
            for match in try Self.text("docs/internals/\(page)").matches(of: /`([^`\n]+)`/) {
                let name = String(match.1)
                if name.hasSuffix(".swift") || name.hasSuffix(".c") {
                    count += 1
                    let isThere =
                        sources.contains { "/\($0)".hasSuffix("/\(name)") }
                        || FileManager.default.fileExists(atPath: Self.root.appendingPathComponent(name).path)
                    #expect(isThere, "\(page): there is no \(name)")
                } else if name.hasSuffix("Tests"), !name.contains("/") {
                    let isThere = suites.contains("struct \(name)") || name == "TidyTests"
                    #expect(isThere, "\(page): there is no suite \(name)")
                }
            }
        }
        #expect(count > 60)
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
        #expect(ServiceEvent.allCases.count > 10)
        for event in ServiceEvent.allCases {
            let line = event == .serves ? "Martlet VERSION serves" : event.message
            let row = guide.split(separator: "\n").first { $0.contains("`\(line)`") }
            #expect(row?.contains("`\(event.rawValue)`") == true, "'\(line)' has no id")
        }
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

    /// The output of `--experimental-dump-help`.
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
