package import MartletCore

/// The state of every shard, in order: what the supervisor tells its workers whenever one changes.
package struct ShardStates: Equatable, Sendable {
    package var states: [ShardState]

    package init(_ states: [ShardState]) {
        self.states = states
    }

    package init(_ bytes: [UInt8], in range: Range<Int>) throws(WireError) {
        var list: [ShardState] = []
        for byte in bytes[range] {
            guard let state = ShardState(rawValue: byte) else { throw .unknownValue }
            list.append(state)
        }
        states = list
    }

    package var bytes: [UInt8] { states.map(\.rawValue) }
}

/// Rooms that got their first member on a shard, or lost their last one, in order.
///
/// A shard may have any number of rooms, and a frame may not have any length: what is told is cut into pieces.
package struct RoomChanges: Equatable, Sendable {
    /// The bytes of a piece, about; a room's name has at most 256.
    package static let largestPiece = 1_048_576

    package var changes: [RoomChange]

    package init(_ changes: [RoomChange]) {
        self.changes = changes
    }

    package init(_ bytes: [UInt8], in range: Range<Int>) throws(WireError) {
        var reader = ByteReader(bytes, in: range)
        var list: [RoomChange] = []
        for _ in 0..<(try reader.count(ofAtLeast: 6)) {
            let isOccupied = try reader.flag()
            list.append(RoomChange(room: try reader.room(), isOccupied: isOccupied))
        }
        try reader.finish()
        changes = list
    }

    /// The same changes in the same order, in pieces of at most so many bytes, or of one change; at least one piece.
    package static func pieces(of changes: [RoomChange], largest: Int = largestPiece) -> [RoomChanges] {
        var pieces: [RoomChanges] = []
        var start = 0
        var byteCount = 4
        for (index, change) in changes.enumerated() {
            let more = 6 + change.room.id.utf8.count
            if index > start, byteCount + more > largest {
                pieces.append(RoomChanges(Array(changes[start..<index])))
                (start, byteCount) = (index, 4)
            }
            byteCount += more
        }
        return pieces + [RoomChanges(Array(changes[start...]))]
    }

    package var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.put(UInt32(changes.count))
        for change in changes {
            writer.put(change.isOccupied)
            writer.put(change.room)
        }
        return writer.bytes
    }
}

/// What a worker that takes over found, or made of it.
package struct Adoption: Equatable, Sendable {
    /// Connections that go on.
    package var kept = 0
    /// Connections that cannot: their slots make no sense, or their sockets are gone.
    package var lost = 0
    /// Connections of which the kernel had moved bytes that were not recorded.
    package var unrecorded = 0
    /// Why nothing can be taken over; nil: it can.
    package var problem: String?

    package init() {}

    package init(_ bytes: [UInt8], in range: Range<Int>) throws(WireError) {
        var reader = ByteReader(bytes, in: range)
        kept = Int(try reader.integer(UInt32.self))
        lost = Int(try reader.integer(UInt32.self))
        unrecorded = Int(try reader.integer(UInt32.self))
        problem = try reader.optionalText()
        try reader.finish()
    }

    package var bytes: [UInt8] {
        var writer = ByteWriter()
        for number in [kept, lost, unrecorded] { writer.put(UInt32(clamping: number)) }
        writer.put(problem)
        return writer.bytes
    }
}

/// A line that a worker wants in the log: its supervisor writes it.
package struct LogLine: Equatable, Sendable {
    /// As in syslog(3): 3 error, 4 warning, 6 info, 7 debug.
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
        // A character that is cut is replaced by a longer one.
        return String(decoding: text.utf8.prefix(longestText - 4), as: UTF8.self)
    }

    private static let longestText = 4096
    private static let mostFields = 32

    /// What names are made of, so that none ends a line, or looks like another field.
    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"): true
        default: false
        }
    }
}
