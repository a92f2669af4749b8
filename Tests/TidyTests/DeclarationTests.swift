// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Rules about declarations and their documentation that the compiler does not know.
@Suite struct DeclarationTests {
    /// A source file, by its path below `Sources`.
    private struct Source {
        let path: String
        let lines: [String]
    }

    private static let sources: [Source] = {
        let base = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appendingPathComponent("Sources")
        let paths = FileManager.default.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? []
        return paths.filter { $0.hasSuffix(".swift") }.sorted().compactMap { path in
            let text = try? String(contentsOf: base.appendingPathComponent(path), encoding: .utf8)
            return text.map { Source(path: path, lines: $0.components(separatedBy: "\n")) }
        }
    }()

    /// Every word of all sources, and how often it occurs outside of comments.
    private static let words: [Substring: Int] = {
        var counts: [Substring: Int] = [:]
        for source in sources {
            for line in source.lines where !line.trimmingPrefix(while: \.isWhitespace).hasPrefix("//") {
                for word in words(line) { counts[word, default: 0] += 1 }
            }
        }
        return counts
    }()

    private static func words(_ line: String) -> [Substring] {
        line.split { !($0.isLetter || $0.isNumber || $0 == "_") }
    }

    /// Returns the name that a line declares, if it declares a function, a property or a type.
    private static func declaredName(_ line: String) -> Substring? {
        let parts = words(line)
        guard let index = parts.firstIndex(where: { ["func", "var", "let", "struct", "class", "enum"].contains($0) })
        else {
            return nil
        }
        let modifiers: Set<Substring> = [
            "package", "private", "fileprivate", "public", "static", "final", "mutating", "nonmutating", "consuming",
            "nonisolated", "set", "unsafe", "override", "indirect", "weak",
        ]
        guard index + 1 < parts.count, parts[..<index].allSatisfy(modifiers.contains) else { return nil }
        return parts[index + 1]
    }

    @Test func `no function is longer than 70 lines`() {
        for source in Self.sources {
            for (start, line) in source.lines.enumerated() {
                let parts = Self.words(line)
                guard parts.contains("func") || parts.contains("init"), !line.contains("//"), Self.isDeclaration(line)
                else {
                    continue
                }
                if line.hasSuffix("}") { continue }
                let indent = line.prefix { $0 == " " }
                let isEnd = { (line: String) in line == indent + "}" }
                let end = source.lines[start...].firstIndex(where: isEnd) ?? start
                #expect(end - start < 70, "\(source.path):\(start + 1) has \(end - start + 1) lines")
            }
        }
    }

    private static func isDeclaration(_ line: String) -> Bool {
        line.firstMatch(
            of:
                /^ *((package|private|fileprivate|static|mutating|convenience|consuming|nonisolated|final) )*(func |init\??[(<])/
        ) != nil
    }

    /// Names that only the compiler, a protocol of the standard library, or another library uses.
    private static let calledByOthers: Set<Substring> = [
        "unownedExecutor", "enqueue", "checkIsolated", "isIsolatingCurrentContext", "hash", "validate", "main", "body",
        "configuration", "subscript", "metadataProvider", "channelActive", "Martletctl", "MartletLoad",
        // What the first manager promised to those who embed it (its 78 behaviours are tested by it).
        "registry", "install",
    ]

    @Test func `nothing is declared that nobody uses`() {
        for source in Self.sources {
            for (number, line) in source.lines.enumerated()
            where !line.trimmingPrefix(while: \.isWhitespace).hasPrefix("//") {
                guard let name = Self.declaredName(line), !Self.calledByOthers.contains(name) else { continue }
                #expect(Self.words[name, default: 0] > 1, "\(source.path):\(number + 1): nobody uses \(name)")
            }
        }
    }

    @Test func `everything that a documentation comment links to exists`() {
        for source in Self.sources {
            for (number, line) in source.lines.enumerated() where line.contains("``") {
                for match in line.matches(of: /``([^`]+)``/) {
                    for word in Self.words(String(match.1)) where Self.words[word] == nil {
                        Issue.record("\(source.path):\(number + 1): there is no \(word)")
                    }
                }
            }
        }
    }

    @Test func `parameters are documented in one form`() {
        for source in Self.sources {
            for (number, line) in source.lines.enumerated()
            where line.firstMatch(of: #/^ */// (?:[*-] )?`\w+`:/#) != nil {
                Issue.record("\(source.path):\(number + 1): write - Parameters:")
            }
        }
    }

    @Test func `no function has more than four parameters without a label`() {
        for source in Self.sources {
            for (start, line) in source.lines.enumerated() where Self.isDeclaration(line) {
                // The parameters, up to the end of their parentheses.
                var (text, depth) = ("", 0)
                for next in source.lines[start...].prefix(20) {
                    text += next
                    depth += next.count { $0 == "(" } - next.count { $0 == ")" }
                    if depth == 0 { break }
                }
                let count = text.matches(of: /[\(,] *_ \w+:/).count
                #expect(count <= 4, "\(source.path):\(start + 1) has \(count) parameters without a label")
            }
        }
    }
}
