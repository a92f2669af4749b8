internal import MartletCore

extension BirthContract {
    /// How clients are served.
    package struct Client: Equatable, Sendable {
        package var path: String
        package var maxMessageBytes: UInt32
        package var queueBytes: UInt32
        package var allowedOrigins: [String]
        package var tokenInQuery: Bool
        package var trustedProxies: [String]
        package var compression: Bool
        package var compressionMinBytes: UInt32

        init(_ client: Configuration.Client) {
            path = client.path
            maxMessageBytes = UInt32(client.maxMessageBytes)
            queueBytes = UInt32(client.queueBytes)
            allowedOrigins = client.allowedOrigins
            tokenInQuery = client.tokenInQuery
            trustedProxies = client.trustedProxies
            compression = client.compression
            compressionMinBytes = UInt32(client.compressionMinBytes)
        }

        func write(to writer: inout ByteWriter) {
            writer.put(path)
            writer.put(maxMessageBytes)
            writer.put(queueBytes)
            writer.put(allowedOrigins)
            writer.put(tokenInQuery)
            writer.put(trustedProxies)
            writer.put(compression)
            writer.put(compressionMinBytes)
        }

        init(_ reader: inout ByteReader) throws(WireError) {
            path = try reader.text()
            maxMessageBytes = try reader.integer()
            queueBytes = try reader.integer()
            allowedOrigins = try reader.texts()
            tokenInQuery = try reader.flag()
            trustedProxies = try reader.texts()
            compression = try reader.flag()
            compressionMinBytes = try reader.integer()
        }
    }

    /// How backends are served.
    package struct API: Equatable, Sendable {
        package var maxBodyBytes: UInt32
        /// Whether anyone who may open a Unix socket needs no key.
        package var trustsUnixSockets: Bool
        package var allowedUIDs: [UInt32]
        /// How long a backend may pause, in nanoseconds.
        package var timeout: UInt64
        package var threadReachesUser: Bool

        init(_ configuration: Configuration) {
            maxBodyBytes = UInt32(configuration.api.maxBodyBytes)
            trustsUnixSockets = configuration.api.unixSocket == .trusted
            allowedUIDs = configuration.api.allowedUIDs
            timeout = configuration.api.timeout.nanoseconds
            threadReachesUser = configuration.rooms.threadReachesUser
        }

        func write(to writer: inout ByteWriter) {
            writer.put(maxBodyBytes)
            writer.put(trustsUnixSockets)
            writer.put(UInt32(allowedUIDs.count))
            for uid in allowedUIDs { writer.put(uid) }
            writer.put(timeout)
            writer.put(threadReachesUser)
        }

        init(_ reader: inout ByteReader) throws(WireError) {
            maxBodyBytes = try reader.integer()
            trustsUnixSockets = try reader.flag()
            var uids: [UInt32] = []
            for _ in 0..<(try reader.count(ofAtLeast: 4)) { uids.append(try reader.integer()) }
            allowedUIDs = uids
            timeout = try reader.integer()
            threadReachesUser = try reader.flag()
        }
    }

    /// The limits of a worker; 0: no limit.
    package struct Limits: Equatable, Sendable {
        /// The most connections of the whole node.
        package var connections: UInt32
        package var connectionsPerUser: UInt32
        package var replacesOldest: Bool
        package var connectionsPerAddress: UInt32
        package var handshakesPerSecond: UInt32
        package var badTokensPerSecond: UInt32
        package var messagesPerSecond: UInt32
        package var messageBurst: UInt32
        package var httpConnections: UInt32
        package var bodyBytes: UInt64
        package var partialMessageBytes: UInt64

        init(_ limits: Configuration.Limits) {
            connections = UInt32(clamping: limits.connections)
            connectionsPerUser = UInt32(clamping: limits.connectionsPerUser)
            replacesOldest = limits.overUserLimit == .replaceOldest
            connectionsPerAddress = UInt32(clamping: limits.connectionsPerAddress)
            handshakesPerSecond = UInt32(clamping: limits.handshakesPerSecond)
            badTokensPerSecond = UInt32(clamping: limits.badTokensPerSecond)
            messagesPerSecond = UInt32(clamping: limits.messagesPerSecond)
            messageBurst = UInt32(clamping: limits.messageBurst)
            httpConnections = UInt32(clamping: limits.httpConnections)
            bodyBytes = UInt64(limits.bodyBytes)
            partialMessageBytes = UInt64(limits.partialMessageBytes)
        }

        func write(to writer: inout ByteWriter) {
            writer.put(connections)
            writer.put(connectionsPerUser)
            writer.put(replacesOldest)
            for number in [
                connectionsPerAddress, handshakesPerSecond, badTokensPerSecond, messagesPerSecond, messageBurst,
                httpConnections,
            ] {
                writer.put(number)
            }
            writer.put(bodyBytes)
            writer.put(partialMessageBytes)
        }

        init(_ reader: inout ByteReader) throws(WireError) {
            connections = try reader.integer()
            connectionsPerUser = try reader.integer()
            replacesOldest = try reader.flag()
            connectionsPerAddress = try reader.integer()
            handshakesPerSecond = try reader.integer()
            badTokensPerSecond = try reader.integer()
            messagesPerSecond = try reader.integer()
            messageBurst = try reader.integer()
            httpConnections = try reader.integer()
            bodyBytes = try reader.integer()
            partialMessageBytes = try reader.integer()
        }
    }

    /// The secrets that prove who somebody is; the supervisor reads them, and nothing shows them.
    package struct Secrets: Equatable, Sendable {
        package var hmac: [UInt8] = []
        package var previousHMAC: [UInt8] = []
        /// The text of a JSON Web Key Set.
        package var jwks: String?
        package var issuer: String?
        package var audience: String?
        package var leewayMilliseconds: UInt32 = 10000
        package var apiKeys: [[UInt8]] = []
        /// Whether clients may join rooms that their token does not name.
        package var anyRoom = false

        package init() {}

        func write(to writer: inout ByteWriter) {
            writer.put(hmac)
            writer.put(previousHMAC)
            writer.put(jwks)
            writer.put(issuer)
            writer.put(audience)
            writer.put(leewayMilliseconds)
            writer.put(UInt32(apiKeys.count))
            for key in apiKeys { writer.put(key) }
            writer.put(anyRoom)
        }

        init(_ reader: inout ByteReader) throws(WireError) {
            hmac = try reader.raw(limit: 65536)
            previousHMAC = try reader.raw(limit: 65536)
            jwks = try reader.optionalText(limit: 1_048_576)
            issuer = try reader.optionalText()
            audience = try reader.optionalText()
            leewayMilliseconds = try reader.integer()
            var keys: [[UInt8]] = []
            for _ in 0..<(try reader.count(ofAtLeast: 4)) { keys.append(try reader.raw(limit: 4096)) }
            apiKeys = keys
            anyRoom = try reader.flag()
        }
    }

    /// How long things may take, in nanoseconds.
    package struct Timing: Equatable, Sendable {
        package var handshakeTimeout: UInt64
        package var heartbeatInterval: UInt64
        package var heartbeatTimeout: UInt64
        package var livenessInterval: UInt64
        /// How long clients get to answer a close frame when the worker stops.
        package var stopTimeout: UInt64

        init(_ configuration: Configuration) {
            handshakeTimeout = configuration.client.handshakeTimeout.nanoseconds
            heartbeatInterval = configuration.client.heartbeatInterval.nanoseconds
            heartbeatTimeout = configuration.client.heartbeatTimeout.nanoseconds
            livenessInterval = configuration.supervision.livenessInterval.nanoseconds
            stopTimeout = configuration.supervision.handoverTimeout.nanoseconds / 2
        }

        func write(to writer: inout ByteWriter) {
            for time in [handshakeTimeout, heartbeatInterval, heartbeatTimeout, livenessInterval, stopTimeout] {
                writer.put(time)
            }
        }

        init(_ reader: inout ByteReader) throws(WireError) {
            handshakeTimeout = try reader.integer()
            heartbeatInterval = try reader.integer()
            heartbeatTimeout = try reader.integer()
            livenessInterval = try reader.integer()
            stopTimeout = try reader.integer()
        }
    }
}
