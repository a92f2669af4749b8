// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// A line that a worker sends to its supervisor, which writes it to the log.
package struct LogLine: Equatable, Sendable {
    /// The priority as in syslog(3): 3 error, 4 warning, 6 info, 7 debug.
    package var priority: UInt8
    /// What happened, in fixed words.
    package var message: String
    /// What it happened to, sorted by name.
    package var fields: [Field]

    package struct Field: Equatable, Sendable {
        package let name: String
        package let value: String

        package init(name: String, value: String) {
            self.name = name
            self.value = value
        }
    }

    package init(priority: UInt8, message: String, fields: [Field] = []) {
        self.priority = priority
        self.message = message
        self.fields = fields
    }

    package init(_ bytes: [UInt8], in range: Range<Int>) throws(WireError) {
        var reader = ByteReader(bytes, in: range)
        priority = try reader.integer()
        message = try reader.text(limit: Self.longestText)
        let count = try reader.count(ofAtLeast: 8)
        guard count <= Self.mostFields else { throw .tooLong }
        var list: [Field] = []
        for _ in 0..<count {
            let name = try reader.text(limit: Self.longestText)
            guard name.utf8.allSatisfy(Self.isNameByte) else { throw .unknownValue }
            list.append(Field(name: name, value: try reader.text(limit: Self.longestText)))
        }
        fields = list
        try reader.finish()
    }

    package var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.put(priority)
        writer.put(Self.shortened(message))
        writer.put(UInt32(min(fields.count, Self.mostFields)))
        for field in fields.prefix(Self.mostFields) {
            writer.put(Self.shortened(field.name))
            writer.put(Self.shortened(field.value))
        }
        return writer.bytes
    }

    private static func shortened(_ text: String) -> String {
        if text.utf8.count <= longestText { return text }
        // A character that is cut in two is replaced by a longer one.
        return String(decoding: text.utf8.prefix(longestText - 4), as: UTF8.self)
    }

    private static let longestText = 4096
    private static let mostFields = 32

    /// Returns true for a byte that may be in a name; others might end a line, or look like another field.
    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"): true
        default: false
        }
    }
}
