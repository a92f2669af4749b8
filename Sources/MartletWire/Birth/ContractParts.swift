// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

extension BirthContract {
    /// How clients are served.
    package struct Client: Record, Equatable, Sendable {
        package var path: String = ""
        package var maxMessageBytes: UInt32 = 0
        package var queueBytes: UInt32 = 0
        package var allowedOrigins: [String] = []
        package var tokenInQuery: Bool = false
        package var trustedProxies: [String] = []
        package var compression: Bool = false
        package var compressionMinBytes: UInt32 = 0
        /// How long a session waits for its client, in nanoseconds; 0: there are no sessions.
        package var resumeWindow: UInt64 = 0
        package var resumeMessages: UInt32 = 0
        package var resumeBytes: UInt32 = 0

        init() {}

        init(_ client: Configuration.Client) {
            path = client.path
            maxMessageBytes = UInt32(client.maxMessageBytes)
            queueBytes = UInt32(client.queueBytes)
            allowedOrigins = client.allowedOrigins
            tokenInQuery = client.tokenInQuery
            trustedProxies = client.trustedProxies
            compression = client.compression
            compressionMinBytes = UInt32(client.compressionMinBytes)
            resumeWindow = client.resumeWindow.nanoseconds
            resumeMessages = UInt32(client.resumeMessages)
            resumeBytes = UInt32(client.resumeBytes)
        }

        package mutating func code<Coder: FieldCoder>(_ coder: inout Coder) throws(Coder.Problem) {
            try coder.code(&path)
            try coder.code(&maxMessageBytes)
            try coder.code(&queueBytes)
            try coder.code(&allowedOrigins)
            try coder.code(&tokenInQuery)
            try coder.code(&trustedProxies)
            try coder.code(&compression)
            try coder.code(&compressionMinBytes)
            try coder.code(&resumeWindow)
            try coder.code(&resumeMessages)
            try coder.code(&resumeBytes)
        }
    }

    /// How backends are served.
    package struct API: Record, Equatable, Sendable {
        package var maxBodyBytes: UInt32 = 0
        /// Whether anyone who may open a Unix socket needs no key.
        package var trustsUnixSockets: Bool = false
        package var allowedUIDs: [UInt32] = []
        /// How long a backend may pause, in nanoseconds.
        package var timeout: UInt64 = 0
        package var threadReachesUser: Bool = false

        init() {}

        init(_ configuration: Configuration) {
            maxBodyBytes = UInt32(configuration.api.maxBodyBytes)
            trustsUnixSockets = configuration.api.unixSocket == .trusted
            allowedUIDs = configuration.api.allowedUIDs
            timeout = configuration.api.timeout.nanoseconds
            threadReachesUser = configuration.rooms.threadReachesUser
        }

        package mutating func code<Coder: FieldCoder>(_ coder: inout Coder) throws(Coder.Problem) {
            try coder.code(&maxBodyBytes)
            try coder.code(&trustsUnixSockets)
            try coder.code(&allowedUIDs)
            try coder.code(&timeout)
            try coder.code(&threadReachesUser)
        }
    }

    /// The limits of a worker; 0: no limit.
    package struct Limits: Record, Equatable, Sendable {
        /// The most connections of the whole node.
        package var connections: UInt32 = 0
        package var connectionsPerUser: UInt32 = 0
        package var replacesOldest: Bool = false
        package var connectionsPerAddress: UInt32 = 0
        package var handshakesPerSecond: UInt32 = 0
        package var badTokensPerSecond: UInt32 = 0
        package var messagesPerSecond: UInt32 = 0
        package var messageBurst: UInt32 = 0
        package var httpConnections: UInt32 = 0
        package var bodyBytes: UInt64 = 0
        package var partialMessageBytes: UInt64 = 0
        package var waitingSessions: UInt32 = 0
        package var sessionBytes: UInt64 = 0

        init() {}

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
            waitingSessions = UInt32(limits.waitingSessions)
            sessionBytes = UInt64(limits.sessionBytes)
        }

        package mutating func code<Coder: FieldCoder>(_ coder: inout Coder) throws(Coder.Problem) {
            try coder.code(&connections)
            try coder.code(&connectionsPerUser)
            try coder.code(&replacesOldest)
            try coder.code(&connectionsPerAddress)
            try coder.code(&handshakesPerSecond)
            try coder.code(&badTokensPerSecond)
            try coder.code(&messagesPerSecond)
            try coder.code(&messageBurst)
            try coder.code(&httpConnections)
            try coder.code(&bodyBytes)
            try coder.code(&partialMessageBytes)
            try coder.code(&waitingSessions)
            try coder.code(&sessionBytes)
        }
    }

    /// The secrets that prove who somebody is; the supervisor reads them, and nothing shows them.
    package struct Secrets: Record, Equatable, Sendable {
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

        package mutating func code<Coder: FieldCoder>(_ coder: inout Coder) throws(Coder.Problem) {
            try coder.code(&hmac, limit: 65536)
            try coder.code(&previousHMAC, limit: 65536)
            try coder.code(&jwks, limit: 1_048_576)
            try coder.code(&issuer)
            try coder.code(&audience)
            try coder.code(&leewayMilliseconds)
            try coder.code(&apiKeys, limit: 4096)
            try coder.code(&anyRoom)
        }
    }

    /// How long things may take, in nanoseconds.
    package struct Timing: Record, Equatable, Sendable {
        package var handshakeTimeout: UInt64 = 0
        package var heartbeatInterval: UInt64 = 0
        package var heartbeatTimeout: UInt64 = 0
        package var livenessInterval: UInt64 = 0
        /// How long clients get to answer a close frame when the worker stops.
        package var stopTimeout: UInt64 = 0

        init() {}

        init(_ configuration: Configuration) {
            handshakeTimeout = configuration.client.handshakeTimeout.nanoseconds
            heartbeatInterval = configuration.client.heartbeatInterval.nanoseconds
            heartbeatTimeout = configuration.client.heartbeatTimeout.nanoseconds
            livenessInterval = configuration.supervision.livenessInterval.nanoseconds
            stopTimeout = configuration.supervision.handoverTimeout.nanoseconds / 2
        }

        package mutating func code<Coder: FieldCoder>(_ coder: inout Coder) throws(Coder.Problem) {
            try coder.code(&handshakeTimeout)
            try coder.code(&heartbeatInterval)
            try coder.code(&heartbeatTimeout)
            try coder.code(&livenessInterval)
            try coder.code(&stopTimeout)
        }
    }
}
