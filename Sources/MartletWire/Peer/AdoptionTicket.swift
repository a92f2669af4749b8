// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// What travels with a client's socket from the worker that accepted it to the worker that owns its user.
///
/// It is binary with lengths, and not text with separators: what a client chose (its user id, the bytes after its head)
/// can never be mistaken for another field.
package struct AdoptionTicket: Equatable, Sendable {
    /// What the client's path asked for.
    package enum Service: UInt8, Sendable {
        case messages = 0
        /// `/echo`, in development only.
        case echo = 1
    }

    /// The shard that the socket is for.
    package var destination: UInt16
    /// The shard whose worker accepted the client, and refuses it if the owner cannot take it.
    package var source: UInt16
    /// True on the way back, because the supervisor could not pass the client on.
    package var isReturned = false
    package var service: Service
    package var bearer: Bearer
    /// A number for the address that the client came from, as the node's board counts it; 0: not counted.
    package var address: UInt64 = 0
    /// What the WebSocket needs for its answer; nil: the client reads server-sent events (``EventStream``).
    package var accepted: Handshake.Accepted?
    /// The session that the client asks for; nil: none.
    package var resume: ResumeOffer?
    /// How many bytes of the client's stream were read so far, including `leftover`.
    package var bytesRead: UInt64
    /// What the client has already sent after its head.
    package var leftover: [UInt8]

    /// The version of tickets of clients that read server-sent events.
    private static let versionOfEvents: UInt8 = 4
    /// The version of tickets with a session; without one, the form of the version before says the same.
    private static let version: UInt8 = 3
    private static let versionWithoutSession: UInt8 = 2
    /// The most that a WebSocket client may send after a head that is not answered yet.
    package static let largestLeftover = 16384

    package init(
        destination: UInt16,
        source: UInt16,
        service: Service,
        bearer: Bearer,
        accepted: Handshake.Accepted?,
        bytesRead: UInt64,
        leftover: [UInt8]
    ) {
        self.destination = destination
        self.source = source
        self.service = service
        self.bearer = bearer
        self.accepted = accepted
        self.bytesRead = bytesRead
        self.leftover = leftover
    }

    package var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.put(accepted == nil ? Self.versionOfEvents : resume == nil ? Self.versionWithoutSession : Self.version)
        writer.put(destination)
        writer.put(source)
        writer.put(isReturned)
        writer.put(service.rawValue)
        writer.put(bearer)
        writer.put(address)
        if let accepted {
            writer.put(accepted.acceptValue.text)
            writer.put(accepted.subprotocol)
            // One byte: no agreement, an agreement, or an agreement with the window that was asked for.
            writer.put(accepted.deflate.map { UInt8($0.askedWindow ?? 1) } ?? 0)
        } else {
            writer.put(resume != nil)
        }
        writer.put(bytesRead)
        writer.put(leftover)
        if let resume { writer.put(resume) }
        return writer.bytes
    }

    package init(_ bytes: [UInt8]) throws(WireError) {
        var reader = ByteReader(bytes)
        let version = try reader.integer(UInt8.self)
        guard (Self.versionWithoutSession...Self.versionOfEvents).contains(version) else { throw .wrongVersion }
        destination = try reader.integer()
        source = try reader.integer()
        isReturned = try reader.flag()
        guard let service = Service(rawValue: try reader.integer()) else { throw .unknownValue }
        self.service = service
        bearer = try reader.bearer()
        address = try reader.integer()
        let hasResume: Bool
        if version == Self.versionOfEvents {
            accepted = nil
            hasResume = try reader.flag()
        } else {
            accepted = try reader.accepted()
            hasResume = version == Self.version
        }
        bytesRead = try reader.integer()
        leftover = try reader.raw(limit: Self.largestLeftover)
        if hasResume { resume = try reader.resumeOffer() }
        try reader.finish()
    }
}

extension ByteWriter {
    fileprivate mutating func put(_ offer: ResumeOffer) {
        guard case .resume(let token, let received) = offer else { return put(UInt8(0)) }
        put(UInt8(token.secret == nil ? 1 : 2))
        put(token.connection.text)
        put(received)
        guard let secret = token.secret else { return }
        put(secret.high)
        put(secret.low)
    }
}

extension ByteReader {
    fileprivate mutating func accepted() throws(WireError) -> Handshake.Accepted {
        guard let acceptValue = AcceptValue(try text(limit: 64)) else { throw .unknownValue }
        let subprotocol = try optionalText(limit: 64)
        let deflate: DeflateExtension? =
            switch try integer(UInt8.self) {
            case 0: nil
            case 1: DeflateExtension()
            case let window where (8...15).contains(window): DeflateExtension(askedWindow: Int(window))
            default: throw .unknownValue
            }
        return Handshake.Accepted(acceptValue: acceptValue, subprotocol: subprotocol, deflate: deflate)
    }

    fileprivate mutating func resumeOffer() throws(WireError) -> ResumeOffer {
        let kind = try integer(UInt8.self)
        if kind == 0 { return .new }
        guard kind <= 2 else { throw .unknownValue }
        let id = ConnectionID(try text(limit: 64))
        let received = try integer(UInt32.self)
        let secret = kind == 2 ? SessionTokens.Secret(high: try integer(), low: try integer()) : nil
        return .resume(SessionToken(connection: id, secret: secret), received: received)
    }
}

extension ByteWriter {
    mutating func put(_ bearer: Bearer) {
        put(bearer.user)
        put(bearer.thread)
        put(bearer.job)
        put(bearer.threads)
        put(bearer.jobs)
        put(ClientOrigin.merged(bearer.origin, bearer.metadata))
        put(bearer.expiresAt)
    }
}

extension ByteReader {
    mutating func bearer() throws(WireError) -> Bearer {
        var bearer = Bearer(user: try text(limit: 256))
        bearer.thread = try optionalText(limit: 256)
        bearer.job = try optionalText(limit: 256)
        bearer.threads = try texts(limit: 256)
        bearer.jobs = try texts(limit: 256)
        (bearer.origin, bearer.metadata) = ClientOrigin.split(try optionalText(limit: TokenPolicy.longestMetadata))
        bearer.expiresAt = try integer()
        return bearer
    }
}
