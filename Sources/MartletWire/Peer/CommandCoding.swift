// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// The coding of commands and their replies between processes.
package enum CommandCoding {
    private enum Tag: UInt8 {
        case sendToUser = 1
        case sendToConnection, broadcast, listConnections, describe, disconnectUser, disconnectConnection, statistics
        case sendToRoom, bind, unbind, batch, makeToken, checkToken, messagesOfClient, endOfClient
    }

    private enum ReplyTag: UInt8 {
        case receipt = 1
        case connections, closed, shard, node, shardUnavailable, overloaded, messageTooLarge, unknownConnection
        case malformed, bound, token, claims, tokenRefused, batch, keyReused, tooManyRooms, cannotSign, poisonous
        case left
        // Since there are sessions.
        case heldReceipt, heldUnavailable, sessions, received, notOpen
    }

    /// The bit that is set in the first byte of a request with a key.
    private static let hasKey: UInt8 = 0x80

    package static func encode(_ command: Command) -> [UInt8] { encode(Request(command)) }

    /// Encodes a request; its text, if it has one, follows directly after it.
    package static func encode(_ request: Request) -> [UInt8] {
        var writer = ByteWriter()
        func put(_ tag: Tag) {
            writer.put(tag.rawValue | (request.key == nil ? 0 : hasKey))
            if let key = request.key {
                writer.put(key.text)
                writer.put(key.fingerprint)
            }
        }
        switch request.command {
        case .sendToUser(let user):
            put(.sendToUser)
            writer.put(user)
        case .sendToConnection(let id):
            put(.sendToConnection)
            writer.put(id.text)
        case .sendToRoom(let room):
            put(.sendToRoom)
            writer.put(room)
        case .broadcast(let excluded):
            put(.broadcast)
            writer.put(excluded)
        case .listConnections(let user):
            put(.listConnections)
            writer.put(user)
        case .describe(let id):
            put(.describe)
            writer.put(id.text)
        case .disconnectUser(let user, let code, let reason):
            put(.disconnectUser)
            writer.put(user)
            writer.put(code)
            writer.put(reason)
        case .disconnectConnection(let id, let code, let reason):
            put(.disconnectConnection)
            writer.put(id.text)
            writer.put(code)
            writer.put(reason)
        case .bind(let user, let thread):
            put(.bind)
            writer.put(user)
            writer.put(thread)
        case .unbind(let user, let thread):
            put(.unbind)
            writer.put(user)
            writer.put(thread)
        case .statistics(let byUser):
            put(.statistics)
            writer.put(byUser)
        case .batch: put(.batch)
        case .makeToken(let user, let seconds, let threads, let jobs):
            put(.makeToken)
            writer.put(user)
            writer.put(UInt32(clamping: seconds))
            writer.put(threads)
            writer.put(jobs)
        case .checkToken(let token):
            put(.checkToken)
            writer.put(token)
        case .fromClient(let post):
            switch post.action {
            case .messages(let first):
                put(.messagesOfClient)
                writer.put(first)
            case .end: put(.endOfClient)
            }
            writer.put(post)
        }
        return writer.bytes
    }

    /// Decodes the request in a frame's payload, and returns where its text begins.
    package static func decode(_ bytes: [UInt8], in range: Range<Int>) throws(WireError) -> (Request, textStart: Int) {
        var reader = ByteReader(bytes, in: range)
        let first = try reader.integer(UInt8.self)
        guard let tag = Tag(rawValue: first & ~hasKey) else { throw .unknownValue }
        let hasKey = first & hasKey != 0
        let key = hasKey ? RequestKey(try reader.text(limit: 255), fingerprint: try reader.integer()) : nil
        let command = try decode(tag, &reader)
        if !command.carriesText { try reader.finish() }
        return (Request(command, key: key), reader.position)
    }

    private static func decode(_ tag: Tag, _ reader: inout ByteReader) throws(WireError) -> Command {
        switch tag {
        case .sendToUser: return .sendToUser(try reader.id())
        case .sendToConnection: return .sendToConnection(ConnectionID(try reader.text()))
        case .sendToRoom: return .sendToRoom(try reader.room())
        case .broadcast: return .broadcast(excluding: try reader.texts())
        case .listConnections: return .listConnections(user: try reader.text())
        case .describe: return .describe(ConnectionID(try reader.text()))
        case .disconnectUser:
            return .disconnectUser(try reader.text(), code: try reader.integer(), reason: try reader.text())
        case .disconnectConnection:
            let id = ConnectionID(try reader.text())
            return .disconnectConnection(id, code: try reader.integer(), reason: try reader.text())
        case .bind: return .bind(user: try reader.id(), thread: try reader.id())
        case .unbind: return .unbind(user: try reader.id(), thread: try reader.id())
        case .statistics: return .statistics(byUser: try reader.flag())
        case .batch: return .batch
        case .makeToken:
            let user = try reader.text()
            let seconds = Int(try reader.integer(UInt32.self))
            return .makeToken(user: user, seconds: seconds, threads: try reader.texts(), jobs: try reader.texts())
        case .checkToken: return .checkToken(try reader.text())
        case .messagesOfClient: return .fromClient(try reader.clientPost(.messages(first: try reader.integer())))
        case .endOfClient: return .fromClient(try reader.clientPost(.end))
        }
    }

    package static func encode(_ reply: CommandReply) -> [UInt8] {
        var writer = ByteWriter()
        encode(reply, to: &writer)
        return writer.bytes
    }

    private static func encode(_ reply: CommandReply, to writer: inout ByteWriter) {
        switch reply {
        case .receipt(let delivery):
            writer.put(delivery.held == 0 ? ReplyTag.receipt.rawValue : ReplyTag.heldReceipt.rawValue)
            writer.put(delivery)
            if delivery.held > 0 { writer.put(UInt32(clamping: delivery.held)) }
        case .connections(let list):
            let hasSessions = list.contains { $0.session != nil }
            writer.put(hasSessions ? ReplyTag.sessions.rawValue : ReplyTag.connections.rawValue)
            writer.put(UInt32(list.count))
            for connection in list { writer.put(connection) }
            for (number, connection) in list.enumerated() where hasSessions {
                guard let session = connection.session else { continue }
                writer.put(UInt32(number))
                writer.put(session)
            }
        case .closed(let count):
            writer.put(ReplyTag.closed.rawValue)
            writer.put(UInt32(clamping: count))
        case .bound(let isNew):
            writer.put(ReplyTag.bound.rawValue)
            writer.put(isNew)
        case .left(let count):
            writer.put(ReplyTag.left.rawValue)
            writer.put(UInt32(clamping: count))
        case .token(let token):
            writer.put(ReplyTag.token.rawValue)
            writer.put(token)
        case .claims(let claims):
            writer.put(ReplyTag.claims.rawValue)
            writer.put(claims)
        case .tokenRefused(let problem):
            writer.put(ReplyTag.tokenRefused.rawValue)
            writer.put(problem.rawValue)
        case .batch(let replies):
            writer.put(ReplyTag.batch.rawValue)
            writer.put(UInt32(replies.count))
            for reply in replies { encode(reply, to: &writer) }
        case .shard(let statistics):
            writer.put(ReplyTag.shard.rawValue)
            writer.put(statistics)
        case .node(let node):
            writer.put(ReplyTag.node.rawValue)
            writer.put(node)
        case .received(let count, let isWhole):
            writer.put(ReplyTag.received.rawValue)
            writer.put(count)
            writer.put(isWhole)
        case .failed(let failure): encode(failure, to: &writer)
        }
    }

    private static func encode(_ failure: CommandFailure, to writer: inout ByteWriter) {
        switch failure {
        case .shardUnavailable(let partial):
            let held = partial?.held ?? 0
            writer.put(held == 0 ? ReplyTag.shardUnavailable.rawValue : ReplyTag.heldUnavailable.rawValue)
            writer.put(partial != nil)
            if let partial { writer.put(partial) }
            if held > 0 { writer.put(UInt32(clamping: held)) }
        case .overloaded: writer.put(ReplyTag.overloaded.rawValue)
        case .messageTooLarge: writer.put(ReplyTag.messageTooLarge.rawValue)
        case .unknownConnection: writer.put(ReplyTag.unknownConnection.rawValue)
        case .notOpen: writer.put(ReplyTag.notOpen.rawValue)
        case .keyReused: writer.put(ReplyTag.keyReused.rawValue)
        case .tooManyRooms: writer.put(ReplyTag.tooManyRooms.rawValue)
        case .cannotSign: writer.put(ReplyTag.cannotSign.rawValue)
        case .poisonous: writer.put(ReplyTag.poisonous.rawValue)
        case .malformed: writer.put(ReplyTag.malformed.rawValue)
        }
    }

    /// Returns a reply that previous versions do not know in a form that they know; nil if they know the reply itself.
    package static func olderForm(_ bytes: [UInt8], in range: Range<Int>) -> [UInt8]? {
        guard !range.isEmpty,
            bytes[range.lowerBound] >= ReplyTag.left.rawValue || bytes[range.lowerBound] == ReplyTag.batch.rawValue,
            let reply = try? decodeReply(bytes, in: range)
        else { return nil }
        return encode(olderForm(reply))
    }

    /// Returns a reply as previous versions know it.
    package static func olderForm(_ reply: CommandReply) -> CommandReply {
        switch reply {
        case .left: return .bound(true)
        case .receipt(let delivery): return .receipt(delivery.withoutHeld)
        case .connections(let list):
            return .connections(
                list.map { connection in
                    var older = connection
                    older.session = nil
                    return older
                }
            )
        case .failed(.shardUnavailable(let partial)): return .failed(.shardUnavailable(partial: partial?.withoutHeld))
        case .batch(let replies): return .batch(replies.map(olderForm))
        default: return reply
        }
    }

    package static func decodeReply(_ bytes: [UInt8], in range: Range<Int>) throws(WireError) -> CommandReply {
        var reader = ByteReader(bytes, in: range)
        let reply = try decodeReply(&reader, mayBeBatch: true)
        try reader.finish()
        return reply
    }

    private static func decodeReply(_ reader: inout ByteReader, mayBeBatch: Bool) throws(WireError) -> CommandReply {
        guard let tag = ReplyTag(rawValue: try reader.integer()) else { throw .unknownValue }
        switch tag {
        case .receipt: return .receipt(try reader.delivery())
        case .heldReceipt: return .receipt(try reader.deliveryWithHeld())
        case .heldUnavailable:
            return .failed(.shardUnavailable(partial: try reader.flag() ? try reader.deliveryWithHeld() : nil))
        case .connections, .sessions:
            var list: [ConnectionSummary] = []
            for _ in 0..<(try reader.count(ofAtLeast: 23)) { list.append(try reader.connectionSummary()) }
            while tag == .sessions, reader.remaining > 0 {
                let number = Int(try reader.integer(UInt32.self))
                guard list.indices.contains(number) else { throw .unknownValue }
                list[number].session = try reader.session()
            }
            return .connections(list)
        case .received: return .received(try reader.integer(), isWhole: try reader.flag())
        case .closed: return .closed(Int(try reader.integer(UInt32.self)))
        case .bound: return .bound(try reader.flag())
        case .left: return .left(Int(try reader.integer(UInt32.self)))
        case .token: return .token(try reader.text())
        case .claims: return .claims(try reader.claims())
        case .tokenRefused:
            guard let problem = TokenProblem(rawValue: try reader.text()) else { throw .unknownValue }
            return .tokenRefused(problem)
        case .batch:
            guard mayBeBatch else { throw .unknownValue }
            var replies: [CommandReply] = []
            for _ in 0..<(try reader.count(ofAtLeast: 1)) {
                replies.append(try decodeReply(&reader, mayBeBatch: false))
            }
            return .batch(replies)
        case .shard: return .shard(try reader.shardStatistics())
        case .node: return .node(try reader.nodeStatistics())
        case .shardUnavailable:
            return .failed(.shardUnavailable(partial: try reader.flag() ? try reader.delivery() : nil))
        case .overloaded: return .failed(.overloaded)
        case .messageTooLarge: return .failed(.messageTooLarge)
        case .unknownConnection: return .failed(.unknownConnection)
        case .notOpen: return .failed(.notOpen)
        case .keyReused: return .failed(.keyReused)
        case .tooManyRooms: return .failed(.tooManyRooms)
        case .cannotSign: return .failed(.cannotSign)
        case .poisonous: return .failed(.poisonous)
        case .malformed: return .failed(.malformed)
        }
    }
}

extension Delivery {
    /// The receipt as versions before sessions know it: what is held has not failed, and was not delivered.
    fileprivate var withoutHeld: Delivery {
        Delivery(matched: matched - min(held, matched), delivered: delivered, failed: failed)
    }
}

extension ByteWriter {
    /// Writes whose session it is; what is asked for was written before.
    fileprivate mutating func put(_ post: ClientPost) {
        put(post.user)
        put(post.connection.text)
        put(post.high)
        put(post.low)
    }
}

extension ByteReader {
    fileprivate mutating func clientPost(_ action: ClientPost.Action) throws(WireError) -> ClientPost {
        ClientPost(
            user: try id(),
            connection: ConnectionID(try text()),
            high: try integer(),
            low: try integer(),
            action
        )
    }

    fileprivate mutating func deliveryWithHeld() throws(WireError) -> Delivery {
        var delivery = try delivery()
        delivery.held = Int(try integer(UInt32.self))
        return delivery
    }
}
