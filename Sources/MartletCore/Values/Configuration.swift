/// Everything that can be configured, with its default.
///
/// Only the supervisor reads files; workers are born with values.
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
        /// How often each connection is pinged; told to clients in their first frame.
        package var heartbeatInterval = Duration.seconds(25)
        /// How long a client may be silent after a ping before it is closed with 4408.
        package var heartbeatTimeout = Duration.seconds(10)
        /// Origins of web pages that may connect; none: pages of the host that they connect to.
        package var allowedOrigins: [String] = []
        /// Take a token from the query too, where logs of proxies see it.
        package var tokenInQuery = false
        /// Agree on permessage-deflate with clients that offer it.
        package var compression = true
        /// Messages below that are not worth it.
        package var compressionMinBytes = 256
        /// Proxies whose `X-Forwarded-For` is believed, by address.
        package var trustedProxies: [String] = []
        /// Bytes that may wait for one connection before it is closed with 4508.
        package var queueBytes = 1_048_576
    }

    /// Who may use the API on a Unix socket.
    package enum UnixSocket: String, CaseIterable, Sendable {
        /// Whoever may open it.
        case trusted
        /// Whoever has a key.
        case key
    }

    package struct API: Equatable, Sendable {
        /// `ADDRESS:PORT`, or `unix:PATH`, where backends publish.
        package var listen = "127.0.0.1:8001"
        package var maxBodyBytes = 4_194_304
        /// Whether those who may open a Unix socket need a key.
        package var unixSocket = UnixSocket.trusted
        /// Users who need no key on a Unix socket where others do, besides root and the service's own, by number.
        package var allowedUIDs: [UInt32] = []
        /// How long a backend may take to go on with a request that it has begun, or with reading its answers.
        package var timeout = Duration.seconds(60)
    }

    package struct Metrics: Equatable, Sendable {
        /// `ADDRESS:PORT`, or `unix:PATH`, where nothing but the metrics is served, to anybody; nil: nowhere.
        package var listen: String?
    }

    package struct Rooms: Equatable, Sendable {
        /// A message to a thread in which nobody is goes to the user of that id.
        package var threadReachesUser = false
    }

    package struct Authentication: Equatable, Sendable {
        /// The secret of HS256, HS384 and HS512: at least 32 bytes (48, 64 for the larger ones).
        package var hmacSecretFile: String?
        /// The secret before it, still accepted.
        package var previousHMACSecretFile: String?
        /// Public keys of RS, PS, ES and EdDSA (RFC 7517).
        package var jwksFile: String?
        package var issuer: String?
        package var audience: String?
        /// How far clocks may differ.
        package var leeway = Duration.seconds(10)
        /// A key on each line.
        package var apiKeysFile: String?
        /// Whether a client may join any room, not only those that its token names.
        package var anyRoom = false
    }

    package struct Limits: Equatable, Sendable {
        /// WebSockets of the whole node.
        package var connections = 100_000
        /// 0: any number, as in the limits below.
        package var connectionsPerUser = 64
        package var overUserLimit = OverUserLimit.reject
        package var connectionsPerAddress = 0
        /// Of the whole node: upgrades of clients whose token is good.
        package var handshakesPerSecond = 5000
        /// Of one address, at each worker: tokens that are checked and refused.
        package var badTokensPerSecond = 50
        /// Of one connection.
        package var messagesPerSecond = 50
        package var messageBurst = 100
        /// Of one worker, on each kind of listener: connections that speak HTTP.
        package var httpConnections = 4096
        /// Of one worker: bytes of requests' bodies that it may be sent at a time.
        package var bodyBytes = 134_217_728
        /// Of one worker: bytes that it holds of clients' messages whose ends have not come.
        package var partialMessageBytes = 134_217_728
    }

    package struct Supervision: Equatable, Sendable {
        package var livenessInterval = Duration.seconds(1)
        package var livenessTimeout = Duration.seconds(5)
        package var restartBackoffMinimum = Duration.milliseconds(100)
        package var restartBackoffMaximum = Duration.seconds(30)
        /// How long a new worker may take to say `ready`, and how long all workers may take to stop.
        package var handoverTimeout = Duration.seconds(10)
        /// Bytes that may wait for one worker before its senders are told `shard unavailable`.
        package var holdBytes = 67_108_864
    }

    package struct Log: Equatable, Sendable {
        package enum Level: String, CaseIterable, Sendable {
            case debug, info, warning, error
        }

        package enum Format: String, CaseIterable, Sendable {
            /// The journal under systemd, else text on a terminal, else JSON.
            case auto
            case journal, text, json
        }

        package var level = Level.info
        package var format = Format.auto
    }

    /// Worker processes; nil: one per CPU that the service may use.
    package var workers: Int?
    package var client = Client()
    package var api = API()
    package var auth = Authentication()
    package var metrics = Metrics()
    package var rooms = Rooms()
    package var limits = Limits()
    package var supervision = Supervision()
    package var log = Log()
    /// What ``controlSocket`` says where there is to be none.
    package static let noControlSocket = "none"
    /// Where `martletctl` finds the supervisor: a path, or ``noControlSocket``.
    package var controlSocket = "/run/martlet/control.sock"
    /// Loopback only, users by name, no keys, a demo page.
    package var isDevelopment = false

    package init() {}

    /// What runs under `--dev`, where nothing else is said.
    package static var development: Configuration {
        var configuration = Configuration()
        configuration.isDevelopment = true
        configuration.client.listen = "127.0.0.1:8000"
        // Load generators open thousands at once.
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
