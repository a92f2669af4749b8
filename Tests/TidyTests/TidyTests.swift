// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Rules of this project that the compiler does not know.
@Suite struct TidyTests {
    private static let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// The modules that each target may import: programs never import each other, and code that decides does no I/O.
    private static let allowed: [String: Set<String>] = [
        "MartletCore": ["Synchronization"],
        "MartletWire": ["MartletCore", "CZlib", "Synchronization"],
        "MartletLinux": ["CMartletLinux", "Glibc", "Synchronization"],
        "MartletSystemd": ["CSystemd", "Glibc", "MartletLinux"],
        "MartletLogging": ["Logging"],
        "MartletConfiguration": ["MartletCore", "MartletWire", "MartletLinux", "CYaml"],
        "MartletSupervisor": [
            "MartletCore", "MartletWire", "MartletLinux", "MartletSystemd", "MartletConfiguration",
            "MartletLogging", "Logging", "ArgumentParser",
        ],
        "MartletWorker": [
            "MartletCore", "MartletWire", "MartletLinux", "MartletLogging", "JWTKit", "Logging", "Synchronization",
        ],
        "MartletControl": ["MartletCore", "MartletWire", "MartletLinux", "ArgumentParser"],
        "MartletLoad": [
            "MartletCore", "NIOCore", "NIOPosix", "NIOWebSocket", "ArgumentParser", "Foundation",
        ],
    ]

    private static func sources(_ folder: String) throws -> [(path: String, lines: [String])] {
        let base = root.appendingPathComponent(folder)
        let paths = FileManager.default.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? []
        return try paths.filter { $0.hasSuffix(".swift") }.sorted().map { path in
            let text = try String(contentsOf: base.appendingPathComponent(path), encoding: .utf8)
            return (path, text.components(separatedBy: "\n"))
        }
    }

    @Test func `every target imports only what the table allows`() throws {
        for (path, lines) in try Self.sources("Sources") {
            let parts = path.split(separator: "/").map(String.init)
            let folder = parts[0]
            let allowed = try #require(Self.allowed[folder], "\(folder) is not in the table")
            for line in lines where line.contains("import ") {
                guard
                    let match = line.firstMatch(of: /^(?:@\w+ )?(?:(?:package|internal|private|public) )?import (\w+)/)
                else { continue }
                #expect(allowed.contains(String(match.1)), "\(path) imports \(match.1)")
                #expect(!line.hasPrefix("import"), "\(path): an import says its access level")
            }
        }
    }

    @Test func `no file is over 400 lines and no line over 140 columns`() throws {
        for folder in ["Sources", "Tests"] {
            for (path, lines) in try Self.sources(folder) {
                #expect(lines.count <= 401, "\(path) has \(lines.count) lines")
                for (number, line) in lines.enumerated() where line.count > 140 {
                    Issue.record("\(path):\(number + 1) has \(line.count) columns")
                }
            }
        }
    }

    @Test func `nothing is forced, and nothing sleeps to synchronise`() throws {
        let forbidden = [/\btry!/, /\bas!/, /\bTask\.sleep/, /\bfatalError\(/, /\busleep\(/]
        for (path, lines) in try Self.sources("Sources") {
            for (number, line) in lines.enumerated() {
                for pattern in forbidden where line.firstMatch(of: pattern) != nil {
                    Issue.record("\(path):\(number + 1): \(line.trimmingCharacters(in: .whitespaces))")
                }
            }
        }
    }

    @Test func `every unchecked Sendable and unsafe isolation has a reason next to it`() throws {
        for (path, lines) in try Self.sources("Sources") {
            for (number, line) in lines.enumerated()
            where line.contains("@unchecked Sendable") || line.contains("nonisolated(unsafe)") {
                let near = lines[max(0, number - 12)...min(lines.count - 1, number + 2)].joined(separator: "\n")
                #expect(
                    near.contains("nchecked Sendable`") || near.contains("Unchecked:") || near.contains("guarded by")
                        || near.contains("loop's thread") || line.hasPrefix("///"),
                    "\(path):\(number + 1) gives no reason"
                )
            }
        }
    }

    @Test func `a worker is not linked with libsystemd, nor the supervisor with worker code`() throws {
        let executable = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let binaries = URL(fileURLWithPath: executable).deletingLastPathComponent()
        let worker = try Data(contentsOf: binaries.appendingPathComponent("martlet-worker"))
        #expect(worker.range(of: Data("libsystemd.so".utf8)) == nil)
        let supervisor = try Data(contentsOf: binaries.appendingPathComponent("martletd"))
        #expect(supervisor.range(of: Data("SocketTable".utf8)) == nil)
        #expect(supervisor.range(of: Data("libsystemd.so".utf8)) != nil)
    }

    @Test func `each of the manager's 78 behaviours has a test that carries its number`() throws {
        var numbers: Set<Int> = []
        for (_, lines) in try Self.sources("Tests") {
            for line in lines where line.contains("manager behaviour") {
                guard let list = line.firstMatch(of: /`manager behaviours? ([0-9, and]+):/)?.1 else { continue }
                for match in list.matches(of: /[0-9]+/) { numbers.insert(Int(match.0) ?? 0) }
            }
        }
        #expect(numbers == Set(1...78), "missing: \(Set(1...78).subtracting(numbers).sorted())")
    }
}
