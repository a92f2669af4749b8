// SPDX-License-Identifier: Apache-2.0

package import MartletCore

// The coding of the values that commands and replies consist of.

extension ByteWriter {
    /// Writes a receipt without ``Delivery/held``, as versions before sessions know it.
    mutating func put(_ delivery: Delivery) {
        put(UInt32(clamping: delivery.matched))
        put(UInt32(clamping: delivery.delivered))
        put(UInt32(clamping: delivery.failed))
    }

    package mutating func put(_ room: Room) {
        put(room.kind.rawValue)
        put(room.id)
    }

    package mutating func put(_ texts: [String]) {
        put(UInt32(texts.count))
        for text in texts { put(text) }
    }

    mutating func put(optional texts: [String]?) {
        put(texts != nil)
        if let texts { put(texts) }
    }

    mutating func put(optional number: Int64?) {
        put(number != nil)
        if let number { put(number) }
    }

    mutating func put(_ claims: TokenClaims) {
        put(claims.subject)
        put(claims.issuer)
        put(claims.audiences)
        put(optional: claims.expiresAt.map { Int64(clamping: $0) })
        put(optional: claims.notBefore.map { Int64(clamping: $0) })
        put(optional: claims.threads)
        put(optional: claims.jobs)
        put(claims.metadata)
    }

    mutating func put(_ connection: ConnectionSummary) {
        put(connection.id.text)
        put(connection.user)
        put(UInt16(connection.shard))
        put(connection.connectedAt)
        put(connection.lastSeenAt)
        put(optional: connection.expiresAt)
        put(connection.thread)
        put(connection.threads)
        put(connection.jobs)
        put(ClientOrigin.merged(connection.origin, connection.metadata))
        put(UInt32(clamping: connection.queuedMessages))
        put(UInt32(clamping: connection.queuedBytes))
        put(optional: connection.roundTrip.map(Int64.init))
    }

    mutating func put(_ session: ConnectionSummary.Session) {
        put(optional: session.waitingSince)
        put(UInt32(clamping: session.resumes))
        put(UInt32(clamping: session.unconfirmed))
    }
}

extension ByteReader {
    mutating func delivery() throws(WireError) -> Delivery {
        let numbers = (try integer(UInt32.self), try integer(UInt32.self), try integer(UInt32.self))
        return Delivery(matched: Int(numbers.0), delivered: Int(numbers.1), failed: Int(numbers.2))
    }

    package mutating func room() throws(WireError) -> Room {
        guard let kind = Room.Kind(rawValue: try integer()) else { throw .unknownValue }
        return Room(kind, try text(limit: 256))
    }

    /// Skips a room.
    mutating func skipRoom() throws(WireError) {
        _ = try integer(UInt8.self)
        try skipText(limit: 256)
    }

    package mutating func texts(limit: Int = 65536) throws(WireError) -> [String] {
        var texts: [String] = []
        for _ in 0..<(try count(ofAtLeast: 4)) { texts.append(try text(limit: limit)) }
        return texts
    }

    /// Reads the id of a user or a room; a longer one is refused here, because the next reader would refuse it.
    mutating func id() throws(WireError) -> String { try text(limit: 256) }

    mutating func optionalTexts() throws(WireError) -> [String]? { try flag() ? try texts() : nil }

    mutating func optionalInteger() throws(WireError) -> Int64? { try flag() ? try integer(Int64.self) : nil }

    mutating func claims() throws(WireError) -> TokenClaims {
        var claims = TokenClaims()
        claims.subject = try optionalText()
        claims.issuer = try optionalText()
        claims.audiences = try texts()
        claims.expiresAt = try optionalInteger().map(Double.init)
        claims.notBefore = try optionalInteger().map(Double.init)
        claims.threads = try optionalTexts()
        claims.jobs = try optionalTexts()
        claims.metadata = try optionalText()
        return claims
    }

    mutating func connectionSummary() throws(WireError) -> ConnectionSummary {
        var connection = ConnectionSummary(
            id: ConnectionID(try text()),
            user: try text(),
            shard: Int(try integer(UInt16.self)),
            connectedAt: try integer(),
            lastSeenAt: try integer()
        )
        connection.expiresAt = try optionalInteger()
        connection.thread = try optionalText()
        connection.threads = try texts()
        connection.jobs = try texts()
        (connection.origin, connection.metadata) = ClientOrigin.split(try optionalText())
        connection.queuedMessages = Int(try integer(UInt32.self))
        connection.queuedBytes = Int(try integer(UInt32.self))
        connection.roundTrip = try optionalInteger().map(Int.init)
        return connection
    }

    mutating func session() throws(WireError) -> ConnectionSummary.Session {
        ConnectionSummary.Session(
            waitingSince: try optionalInteger(),
            resumes: Int(try integer(UInt32.self)),
            unconfirmed: Int(try integer(UInt32.self))
        )
    }
}

extension Int64 {
    /// Makes the nearest whole number, because a token may contain any time.
    fileprivate init(clamping number: Double) {
        self = number >= 9e18 ? .max : number <= -9e18 || number.isNaN ? .min : Int64(number)
    }
}
