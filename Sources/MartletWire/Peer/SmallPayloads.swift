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

/// A line that a worker wants in the log: its supervisor writes it.
package struct LogLine: Equatable, Sendable {
    /// As in syslog(3): 3 error, 4 warning, 6 info, 7 debug.
    package var priority: UInt8
    package var message: String

    package init(priority: UInt8, message: String) {
        self.priority = priority
        self.message = message
    }

    package init(_ bytes: [UInt8], in range: Range<Int>) throws(WireError) {
        var reader = ByteReader(bytes, in: range)
        priority = try reader.integer()
        message = try reader.text()
        try reader.finish()
    }

    package var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.put(priority)
        writer.put(String(decoding: message.utf8.prefix(4096), as: UTF8.self))
        return writer.bytes
    }
}
