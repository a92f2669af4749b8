// SPDX-License-Identifier: Apache-2.0

/// A page that fits into a terminal, and says what does not fit.
struct Screen {
    private static let foot = "q quits, space refreshes"

    private let head: [String]
    private let columns: [Column]
    private let rows: [[String]]

    init(head: [String] = [], columns: [Column] = [], rows: [[String]] = []) {
        self.head = head
        self.columns = columns
        self.rows = rows
    }

    /// Returns the lines for a terminal of that size.
    func lines(in size: (columns: Int, rows: Int)) -> [String] {
        guard !columns.isEmpty else { return [] }
        // This leaves room for the head, the titles of the table, and the foot.
        let room = max(1, size.rows - head.count - 3)
        let shown = rows.count <= room ? rows[...] : rows.prefix(max(0, room - 1))
        let hidden = rows.count - shown.count
        var fitting = columns.count
        while fitting > 1, width(of: shown, fitting) > size.columns { fitting -= 1 }
        let titles = columns.prefix(fitting).map(\.rawValue)
        let table = aligned([titles] + shown.map { Array($0.prefix(fitting)) })
        let more = hidden > 0 ? ["... and \(Report.counted(hidden, "more shard")): martletctl stats"] : []
        let left = columns.dropFirst(fitting).map(\.rawValue)
        let foot = left.isEmpty ? Self.foot : "\(Self.foot); no room for \(left.joined(separator: ", "))"
        return (head + table + more + ["", foot]).map { String($0.prefix(size.columns)) }
    }

    private func widths(of rows: ArraySlice<[String]>, _ count: Int) -> [Int] {
        (0..<count).map { column in
            rows.reduce(columns[column].rawValue.count) { max($0, $1[column].count) }
        }
    }

    private func width(of rows: ArraySlice<[String]>, _ count: Int) -> Int {
        widths(of: rows, count).reduce(0, +) + 2 * (count - 1)
    }

    /// Aligns texts to the left and numbers to the right.
    private func aligned(_ rows: [[String]]) -> [String] {
        let widths = widths(of: rows.dropFirst(), rows[0].count)
        return rows.map { row in
            row.enumerated().map { index, cell in
                let space = String(repeating: " ", count: max(0, widths[index] - cell.count))
                return columns[index] == .state ? cell + space : space + cell
            }.joined(separator: "  ")
        }
    }
}
