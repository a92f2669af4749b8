// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// The results of a run: rows for people, members for scripts.
struct LoadReport {
    enum Value {
        case count(Int)
        case number(Double)
        case text(String)
    }

    private(set) var rows: [(key: String, label: String, value: Value, unit: String)] = []
    /// The promises that were broken; if there are any, the run ends with exit code 1.
    private(set) var broken: [String] = []

    mutating func add(_ key: String, _ label: String, _ value: Int, _ unit: String = "") {
        rows.append((key, label, .count(value), unit))
    }

    mutating func add(_ key: String, _ label: String, _ value: Double, _ unit: String = "") {
        rows.append((key, label, .number(value), unit))
    }

    mutating func add(_ key: String, _ label: String, _ latencies: Latencies) {
        for (name, microseconds) in latencies.summary() {
            add("\(key)_\(name.replacing(".", with: "_"))_us", "\(label) \(name)", microseconds, "us")
        }
    }

    mutating func breakPromise(_ what: String) { broken.append(what) }

    func printTable() throws {
        let width = rows.map(\.label.count).max() ?? 0
        for row in rows {
            let label = row.label + String(repeating: " ", count: width - row.label.count)
            try Self.write("\(label)  \(text(row.value)) \(row.unit)")
        }
        for line in broken { try Self.write("BROKEN: \(line)") }
    }

    func printJSON() throws {
        var members = rows.map { row in
            switch row.value {
            case .text(let text): "\"\(row.key)\":\"\(text)\""
            default: "\"\(row.key)\":\(text(row.value))"
            }
        }
        let list = broken.map { "\"\($0.replacing("\"", with: "'"))\"" }.joined(separator: ",")
        members.append("\"broken\":[\(list)]")
        try Self.write("{\(members.joined(separator: ","))}")
    }

    /// Writes a line at once, so that the reader of a pipe gets it; throws if it cannot be written.
    private static func write(_ line: String) throws {
        try FileHandle.standardOutput.write(contentsOf: Data((line + "\n").utf8))
    }

    private func text(_ value: Value) -> String {
        switch value {
        case .count(let count): String(count)
        case .number(let number): String(format: number >= 100 ? "%.0f" : "%.2f", number)
        case .text(let text): text
        }
    }
}
