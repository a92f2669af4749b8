// SPDX-License-Identifier: Apache-2.0

/// A configuration file: values and lists under keys, whose sections are joined by dots, in the order of the file.
///
/// It is the part of YAML that a configuration needs: one document, without tags and aliases, in which no key is given
/// twice.
struct YAMLFile {
    struct Entry {
        let key: String
        let value: Value
        /// The line of the key, counted from 1.
        let line: Int
    }

    enum Value: Equatable {
        case text(String)
        case list([String])
        /// There is nothing behind the key: `client:`, `client: ~`.
        case nothing
    }

    /// How deeply sections and lists may be nested.
    private static let deepest = 16
    /// YAML's ways to write that there is nothing.
    private static let nothings = ["", "~", "null", "Null", "NULL"]

    /// The entries of all sections.
    private(set) var entries: [Entry] = []
    private var keys: Set<String> = []

    /// Reads a file.
    init(_ bytes: [UInt8]) throws(YAMLProblem) {
        var events = YAMLEvents(bytes)
        switch try events.next() {
        case .end: return
        case .documentStart: break
        default: throw YAMLProblem(line: events.line, why: "there is no document")
        }
        switch try events.next() {
        case .sectionStart: try readSection(&events, "", depth: 1)
        case .scalar(let text, let isPlain) where isPlain && Self.nothings.contains(text): break
        default:
            throw YAMLProblem(line: events.line, why: "write keys and values: `client:`, and below it `listen: ...`")
        }
        guard case .documentEnd = try events.next(), case .end = try events.next() else {
            throw YAMLProblem(line: events.line, why: "there is more than one document")
        }
    }

    /// Returns the entry of a key; nil if the file does not have it.
    func entry(_ key: String) -> Entry? { keys.contains(key) ? entries.first { $0.key == key } : nil }

    private mutating func readSection(_ events: inout YAMLEvents, _ prefix: String, depth: Int) throws(YAMLProblem) {
        while true {
            let name: String
            switch try events.next() {
            case .sectionEnd: return
            case .scalar(let text, _): name = text
            default: throw YAMLProblem(line: events.line, why: "a key must be a word")
            }
            let (key, line) = (prefix + name, events.line)
            guard keys.insert(key).inserted else {
                throw YAMLProblem(line: line, why: "\(key) is given more than once")
            }
            switch try events.next() {
            case .scalar(let text, let isPlain):
                let isNothing = isPlain && Self.nothings.contains(text)
                entries.append(Entry(key: key, value: isNothing ? .nothing : .text(text), line: line))
            case .listStart: entries.append(Entry(key: key, value: .list(try readList(&events)), line: line))
            case .sectionStart:
                guard depth < Self.deepest else { throw YAMLProblem(line: line, why: "it is nested too deeply") }
                try readSection(&events, key + ".", depth: depth + 1)
            case .alias: throw Self.alias(events.line)
            default: throw YAMLProblem(line: line, why: "\(key) has no value")
            }
        }
    }

    private func readList(_ events: inout YAMLEvents) throws(YAMLProblem) -> [String] {
        var list: [String] = []
        while true {
            switch try events.next() {
            case .listEnd: return list
            case .scalar(let text, _): list.append(text)
            case .alias: throw Self.alias(events.line)
            default: throw YAMLProblem(line: events.line, why: "a list must have simple values: [a, b]")
            }
        }
    }

    private static func alias(_ line: Int) -> YAMLProblem {
        YAMLProblem(line: line, why: "write the value out: aliases (*name) are not read here")
    }
}
