// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import MartletConfiguration

@Suite struct YAMLFileTests {
    private func read(_ text: String) throws -> [String] {
        try YAMLFile(Array(text.utf8)).entries.map { entry in
            switch entry.value {
            case .text(let text): "\(entry.line) \(entry.key)=\(text)"
            case .list(let list): "\(entry.line) \(entry.key)=[\(list.joined(separator: "|"))]"
            case .nothing: "\(entry.line) \(entry.key)"
            }
        }
    }

    @Test func `keys are read with their sections, values as they are written, and lines`() throws {
        let text = """
            # comment
            a: 1
            b:
              c: [x, "y z", '1']   # list
              d:
                - 5
                - six: no
              "e f": "~"
            g: { h: yes, i: null, j: }
            k: >
              folded
              text
            """
        #expect(
            try read(text.replacing("    - six: no\n", with: "")) == [
                "2 a=1", "4 b.c=[x|y z|1]", "5 b.d=[5]", "7 b.e f=~", "8 g.h=yes", "8 g.i", "8 g.j",
                "9 k=folded text",
            ]
        )
        #expect { try read(text) } throws: { ($0 as? YAMLProblem)?.line == 7 }
    }

    @Test(arguments: ["", "# x", "---", "---\n...", "~", "null", "\u{FEFF}", "{}"])
    func `a file may say nothing`(text: String) throws {
        #expect(try read(text) == [])
    }

    @Test(arguments: [
        ("a: 1\na: 2", 2), ("a: {b: 1, b: 2}", 1), ("x", 1), ("[a]", 1), ("a: 1\n---\nb: 2", 2),
        ("c: 1\na: &x 1\nb: *x", 2),
        ("b: *x", 1), ("a: 1\nb: !ENV x", 2), ("a: !!str 1", 1), ("a: &y [b]", 1), ("a: !z {b: 1}", 1),
        ("a: [[b]]", 1), ("? [a]\n: b", 1), ("a: {", 2), ("a: 'x", 1), ("\ta: 1", 1), ("a: 1\n b: 2", 2),
        ("a: 1\nb: 2\nc: \u{1}", 3), (String(repeating: "a: {", count: 40), 1),
    ])
    func `what a configuration cannot mean is refused, with its line`(text: String, line: Int) {
        #expect { try read(text) } throws: { ($0 as? YAMLProblem)?.line == line }
    }

    @Test func `bytes that are not UTF-8 are refused`() {
        #expect(throws: YAMLProblem.self) { try YAMLFile([0x61, 0x3A, 0x20, 0xFF, 0xFE]) }
        #expect(throws: YAMLProblem.self) {
            try YAMLFile([0xFF, 0xFE, 0x61, 0x00, 0x3A, 0x00, 0x20, 0x00, 0x31, 0x00])
        }
    }
}
