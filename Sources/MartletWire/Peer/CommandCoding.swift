package import MartletCore

/// The bytes of commands and their replies between processes.
package enum CommandCoding {
    private enum Tag: UInt8 {
        case sendToUser = 1
        case sendToConnection, broadcast, listConnections, describe, disconnectUser, disconnectConnection, statistics
    }

    private enum ReplyTag: UInt8 {
        case receipt = 1
        case connections, closed, shard, node, shardUnavailable, overloaded, messageTooLarge, unknownConnection
        case malformed
    }

    /// A command's bytes; its text, if it carries one, goes right behind them.
    package static func encode(_ command: Command) -> [UInt8] {
        var writer = ByteWriter()
        switch command {
        case .sendToUser(let user):
            writer.put(Tag.sendToUser.rawValue)
            writer.put(user)
        case .sendToConnection(let id):
            writer.put(Tag.sendToConnection.rawValue)
            writer.put(id.text)
        case .broadcast(let excluded):
            writer.put(Tag.broadcast.rawValue)
            writer.put(UInt32(excluded.count))
            for user in excluded { writer.put(user) }
        case .listConnections(let user):
            writer.put(Tag.listConnections.rawValue)
            writer.put(user)
        case .describe(let id):
            writer.put(Tag.describe.rawValue)
            writer.put(id.text)
        case .disconnectUser(let user, let code, let reason):
            writer.put(Tag.disconnectUser.rawValue)
            writer.put(user)
            writer.put(code)
            writer.put(reason)
        case .disconnectConnection(let id, let code, let reason):
            writer.put(Tag.disconnectConnection.rawValue)
            writer.put(id.text)
            writer.put(code)
            writer.put(reason)
        case .statistics(let byUser):
            writer.put(Tag.statistics.rawValue)
            writer.put(byUser)
        }
        return writer.bytes
    }

    /// The command in a frame's payload, and where its text begins.
    package static func decode(_ bytes: [UInt8], in range: Range<Int>) throws(WireError) -> (Command, textStart: Int) {
        var reader = ByteReader(bytes, in: range)
        guard let tag = Tag(rawValue: try reader.integer()) else { throw .unknownValue }
        let command: Command
        switch tag {
        case .sendToUser: command = .sendToUser(try reader.text())
        case .sendToConnection: command = .sendToConnection(ConnectionID(try reader.text()))
        case .broadcast:
            var excluded: [String] = []
            for _ in 0..<(try reader.count(ofAtLeast: 4)) { excluded.append(try reader.text()) }
            command = .broadcast(excluding: excluded)
        case .listConnections: command = .listConnections(user: try reader.text())
        case .describe: command = .describe(ConnectionID(try reader.text()))
        case .disconnectUser:
            command = .disconnectUser(try reader.text(), code: try reader.integer(), reason: try reader.text())
        case .disconnectConnection:
            let id = ConnectionID(try reader.text())
            command = .disconnectConnection(id, code: try reader.integer(), reason: try reader.text())
        case .statistics: command = .statistics(byUser: try reader.flag())
        }
        if !command.carriesText { try reader.finish() }
        return (command, reader.position)
    }

    package static func encode(_ reply: CommandReply) -> [UInt8] {
        var writer = ByteWriter()
        switch reply {
        case .receipt(let delivery):
            writer.put(ReplyTag.receipt.rawValue)
            writer.put(delivery)
        case .connections(let list):
            writer.put(ReplyTag.connections.rawValue)
            writer.put(UInt32(list.count))
            for connection in list { writer.put(connection) }
        case .closed(let count):
            writer.put(ReplyTag.closed.rawValue)
            writer.put(UInt32(count))
        case .shard(let statistics):
            writer.put(ReplyTag.shard.rawValue)
            writer.put(statistics)
        case .node(let node):
            writer.put(ReplyTag.node.rawValue)
            writer.put(node.uptimeNanoseconds)
            writer.put(UInt32(node.shards.count))
            for shard in node.shards { writer.put(shard) }
        case .failed(let failure): encode(failure, to: &writer)
        }
        return writer.bytes
    }

    private static func encode(_ failure: CommandFailure, to writer: inout ByteWriter) {
        switch failure {
        case .shardUnavailable(let partial):
            writer.put(ReplyTag.shardUnavailable.rawValue)
            writer.put(partial != nil)
            if let partial { writer.put(partial) }
        case .overloaded: writer.put(ReplyTag.overloaded.rawValue)
        case .messageTooLarge: writer.put(ReplyTag.messageTooLarge.rawValue)
        case .unknownConnection: writer.put(ReplyTag.unknownConnection.rawValue)
        case .malformed: writer.put(ReplyTag.malformed.rawValue)
        }
    }

    package static func decodeReply(_ bytes: [UInt8], in range: Range<Int>) throws(WireError) -> CommandReply {
        var reader = ByteReader(bytes, in: range)
        guard let tag = ReplyTag(rawValue: try reader.integer()) else { throw .unknownValue }
        let reply: CommandReply
        switch tag {
        case .receipt: reply = .receipt(try reader.delivery())
        case .connections:
            var list: [ConnectionSummary] = []
            for _ in 0..<(try reader.count(ofAtLeast: 23)) { list.append(try reader.connectionSummary()) }
            reply = .connections(list)
        case .closed: reply = .closed(Int(try reader.integer(UInt32.self)))
        case .shard: reply = .shard(try reader.shardStatistics())
        case .node:
            let uptime = try reader.integer(UInt64.self)
            var shards: [ShardStatistics] = []
            for _ in 0..<(try reader.count(ofAtLeast: 32)) { shards.append(try reader.shardStatistics()) }
            reply = .node(NodeStatistics(shards: shards, uptimeNanoseconds: uptime))
        case .shardUnavailable:
            reply = .failed(.shardUnavailable(partial: try reader.flag() ? try reader.delivery() : nil))
        case .overloaded: reply = .failed(.overloaded)
        case .messageTooLarge: reply = .failed(.messageTooLarge)
        case .unknownConnection: reply = .failed(.unknownConnection)
        case .malformed: reply = .failed(.malformed)
        }
        try reader.finish()
        return reply
    }
}

extension ByteWriter {
    fileprivate mutating func put(_ delivery: Delivery) {
        put(UInt32(delivery.matched))
        put(UInt32(delivery.delivered))
        put(UInt32(delivery.failed))
    }

    fileprivate mutating func put(_ connection: ConnectionSummary) {
        put(connection.id.text)
        put(connection.user)
        put(UInt16(connection.shard))
        put(connection.connectedAt)
        put(connection.thread)
        put(UInt32(connection.queuedBytes))
    }

    package mutating func put(_ statistics: ShardStatistics) {
        put(UInt16(statistics.shard))
        put(statistics.pid)
        put(statistics.generation)
        put(statistics.state.rawValue)
        let counters = statistics.counters
        for number in [
            statistics.connections, statistics.users, statistics.queueBytes, statistics.slotsInUse,
            statistics.residentBytes, statistics.restarts, counters.messagesSent, counters.messagesReceived,
            counters.messagesFailed, counters.messagesDropped, counters.bytesSent, counters.bytesReceived,
        ] { put(Int64(number)) }
        put(statistics.cpuNanoseconds)
        put(statistics.lastEnd)
        put(statistics.connectionsByUser != nil)
        if let counts = statistics.connectionsByUser {
            put(UInt32(counts.count))
            for (user, count) in counts {
                put(user)
                put(UInt32(count))
            }
        }
    }
}

extension ByteReader {
    fileprivate mutating func delivery() throws(WireError) -> Delivery {
        let numbers = (try integer(UInt32.self), try integer(UInt32.self), try integer(UInt32.self))
        return Delivery(matched: Int(numbers.0), delivered: Int(numbers.1), failed: Int(numbers.2))
    }

    fileprivate mutating func connectionSummary() throws(WireError) -> ConnectionSummary {
        ConnectionSummary(
            id: ConnectionID(try text()),
            user: try text(),
            shard: Int(try integer(UInt16.self)),
            connectedAt: try integer(),
            thread: try optionalText(),
            queuedBytes: Int(try integer(UInt32.self))
        )
    }

    package mutating func shardStatistics() throws(WireError) -> ShardStatistics {
        var statistics = ShardStatistics()
        statistics.shard = Int(try integer(UInt16.self))
        statistics.pid = try integer()
        statistics.generation = try integer()
        guard let state = ShardState(rawValue: try integer()) else { throw .unknownValue }
        statistics.state = state
        var numbers: [Int] = []
        for _ in 0..<12 { numbers.append(Int(try integer(Int64.self))) }
        statistics.connections = numbers[0]
        statistics.users = numbers[1]
        statistics.queueBytes = numbers[2]
        statistics.slotsInUse = numbers[3]
        statistics.residentBytes = numbers[4]
        statistics.restarts = numbers[5]
        statistics.counters.messagesSent = numbers[6]
        statistics.counters.messagesReceived = numbers[7]
        statistics.counters.messagesFailed = numbers[8]
        statistics.counters.messagesDropped = numbers[9]
        statistics.counters.bytesSent = numbers[10]
        statistics.counters.bytesReceived = numbers[11]
        statistics.cpuNanoseconds = try integer()
        statistics.lastEnd = try optionalText()
        if try flag() {
            var counts: [String: Int] = [:]
            for _ in 0..<(try count(ofAtLeast: 8)) {
                let user = try text()
                counts[user] = Int(try integer(UInt32.self))
            }
            statistics.connectionsByUser = counts
        }
        return statistics
    }
}
