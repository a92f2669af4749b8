// SPDX-License-Identifier: Apache-2.0

/// Everything that can be configured, with its default.
///
/// Only the supervisor reads files; workers get the values when they start.
package struct Configuration: Equatable, Sendable {
    package struct Client: Equatable, Sendable {
        /// `ADDRESS:PORT` where browsers connect.
        package var listen = "0.0.0.0:8000"
        /// The path of the WebSocket.
        package var path = "/ws"
        /// The largest message that a client may send.
        package var maxMessageBytes = 1_048_576
        /// How long a connection may take to send its whole HTTP head.
        package var handshakeTimeout = Duration.seconds(5)
        /// How often each connection is pinged; clients learn this from their first frame.
        package var heartbeatInterval = Duration.seconds(25)
        /// How long a client may be silent after a ping before it is closed with 4408.
        package var heartbeatTimeout = Duration.seconds(10)
        /// Origins of web pages that may connect; empty: only pages of the host that they connect to.
        package var allowedOrigins: [String] = []
        /// Whether a token may also come in the query, where it appears in the logs of proxies.
        package var tokenInQuery = false
        /// Whether to use permessage-deflate with clients that offer it.
        package var compression = true
        /// Messages with fewer bytes are not compressed, because it is not worth it.
        package var compressionMinBytes = 256
        /// Addresses of the proxies whose `X-Forwarded-For` is trusted.
        package var trustedProxies: [String] = []
        /// How many bytes may wait for one connection before it is closed with 4508.
        package var queueBytes = 1_048_576
        /// How long a session waits for its client after its socket has broken; zero: there are no sessions.
        package var resumeWindow = Duration.seconds(120)
        /// How many messages a session keeps until its client has confirmed them.
        package var resumeMessages = 1024
        /// How many bytes these messages may have.
        package var resumeBytes = 262_144
    }

    /// Who may use the API on a Unix socket.
    package enum UnixSocket: String, CaseIterable, Sendable {
        /// Anyone who may open the socket may use the API.
        case trusted
        /// Anyone who has a key may use the API.
        case key
    }

    package struct API: Equatable, Sendable {
        /// `ADDRESS:PORT`, or `unix:PATH`, where backends publish.
        package var listen = "127.0.0.1:8001"
        package var maxBodyBytes = 4_194_304
        /// Whether a backend that connects to a Unix socket needs a key.
        package var unixSocket = UnixSocket.trusted
        /// Ids of users who need no key on a Unix socket where others do, besides root and the service's own user.
        package var allowedUIDs: [UInt32] = []
        /// How long a backend may pause while it sends a request, or while it reads its answers.
        package var timeout = Duration.seconds(60)
    }

    package struct Metrics: Equatable, Sendable {
        /// `ADDRESS:PORT`, or `unix:PATH`, where only the metrics are served, to anybody; nil: nowhere.
        package var listen: String?
    }

    package struct Rooms: Equatable, Sendable {
        /// Whether a message to a thread without members goes to the user with that id.
        package var threadReachesUser = false
    }

    package struct Authentication: Equatable, Sendable {
        /// The file with the secret for HS256, HS384 and HS512: at least 32 bytes (48 for HS384, 64 for HS512).
        package var hmacSecretFile: String?
        /// The file with the previous secret, which is still accepted.
        package var previousHMACSecretFile: String?
        /// The file with the public keys for RS, PS, ES and EdDSA (RFC 7517).
        package var jwksFile: String?
        package var issuer: String?
        package var audience: String?
        /// How much the clocks of different machines may differ.
        package var leeway = Duration.seconds(10)
        /// The file with the keys of backends, one on each line.
        package var apiKeysFile: String?
        /// Whether a client may join any room, rather than only those that its token names.
        package var anyRoom = false
    }

    package struct Limits: Equatable, Sendable {
        /// The most WebSockets of the whole node.
        package var connections = 100_000
        /// The most WebSockets of one user; 0, here and in the limits below: any number.
        package var connectionsPerUser = 64
        package var overUserLimit = OverUserLimit.reject
        package var connectionsPerAddress = 0
        /// The rate of upgrades of clients with a valid token, on the whole node.
        package var handshakesPerSecond = 5000
        /// The rate of tokens that are checked and refused, of one address, at each worker.
        package var badTokensPerSecond = 50
        /// The rate of messages that one client may send.
        package var messagesPerSecond = 50
        package var messageBurst = 100
        /// The most connections that speak HTTP, for each worker and kind of listener.
        package var httpConnections = 4096
        /// The most bytes of request bodies that one worker takes in at a time.
        package var bodyBytes = 134_217_728
        /// The most bytes of clients' unfinished messages that one worker holds.
        package var partialMessageBytes = 134_217_728
        /// The most sessions that wait for their clients in one worker.
        package var waitingSessions = 20000
        /// The most bytes of messages that the sessions of one worker keep; one that several keep counts several times.
        package var sessionBytes = 67_108_864
    }

    package struct Supervision: Equatable, Sendable {
        package var livenessInterval = Duration.seconds(1)
        package var livenessTimeout = Duration.seconds(5)
        package var restartBackoffMinimum = Duration.milliseconds(100)
        package var restartBackoffMaximum = Duration.seconds(30)
        /// How long a new worker may take to say `ready`, and how long all the workers may take to stop.
        package var handoverTimeout = Duration.seconds(10)
        /// How many bytes may wait for one worker before its senders are told `shard unavailable`.
        package var holdBytes = 67_108_864
    }

    package struct Log: Equatable, Sendable {
        package enum Level: String, CaseIterable, Sendable {
            case debug, info, warning, error
        }

        package enum Format: String, CaseIterable, Sendable {
            /// The journal under systemd, otherwise text on a terminal, otherwise JSON.
            case auto
            case journal, text, json
        }

        package var level = Level.info
        package var format = Format.auto
    }

    /// The number of worker processes; nil: one per CPU that the service may use.
    package var workers: Int?
    package var client = Client()
    package var api = API()
    package var auth = Authentication()
    package var metrics = Metrics()
    package var rooms = Rooms()
    package var limits = Limits()
    package var supervision = Supervision()
    package var log = Log()
    /// The value of ``controlSocket`` that means that there is none.
    package static let noControlSocket = "none"
    /// Where `martletctl` finds the supervisor: a path, or ``noControlSocket``.
    package var controlSocket = "/run/martlet/control.sock"
    /// Whether this is development mode: loopback only, users by name, no keys, a demo page.
    package var isDevelopment = false

    package init() {}

    /// The defaults under `--dev`.
    package static var development: Configuration {
        var configuration = Configuration()
        configuration.isDevelopment = true
        configuration.client.listen = "127.0.0.1:8000"
        // Load generators open thousands of connections at once.
        configuration.limits.handshakesPerSecond = 0
        return configuration
    }
}

extension Duration {
    /// The whole duration in nanoseconds; durations here are short and positive.
    package var nanoseconds: UInt64 {
        UInt64(components.seconds) * 1_000_000_000 + UInt64(components.attoseconds / 1_000_000_000)
    }
}
