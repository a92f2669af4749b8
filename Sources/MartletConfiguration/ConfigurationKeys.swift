// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletWire

/// A key of the configuration: how its text becomes a value, how the value is shown, and what it is for.
package struct ConfigurationKey: Sendable {
    enum Shape: Sendable {
        case text, number, size, duration, flag, list
    }

    /// The key as the file spells it, such as `client.listen`.
    let name: String
    let shape: Shape
    /// One line that says what the key is for.
    let help: String
    let get: @Sendable (Configuration) -> ConfigurationValue
    let set: @Sendable (inout Configuration, ConfigurationValue) throws(ConfigurationError) -> Void

    /// Every key, in the order in which they are shown.
    ///
    /// An unknown key prevents the start, so that no typing error goes unnoticed.
    static let all: [ConfigurationKey] = top + client + api + metrics + auth + rooms + limits + supervision + log

    private static let top: [ConfigurationKey] = [
        ConfigurationKey(
            name: "workers",
            shape: .text,
            help: "The number of worker processes; auto: one per CPU that the service may use.",
            get: { .text($0.workers.map(String.init) ?? "auto") },
            set: { configuration, value throws(ConfigurationError) in
                configuration.workers = value.text == "auto" ? nil : try number(value.text, "workers")
            }
        ),
        text("control_socket", "Where martletctl finds the service: a path, or none.", \.controlSocket),
    ]

    private static let client: [ConfigurationKey] = [
        text("client.listen", "Where browsers connect.", \.client.listen),
        text("client.path", "The path of the WebSocket.", \.client.path),
        size(
            "client.max_message_bytes",
            "The largest message that a client may send; a larger one closes the connection (1009).",
            \.client.maxMessageBytes
        ),
        list(
            "client.allowed_origins",
            "Pages that may connect: https://a.com, https://*.a.com, an app's origin, null, * (any). Empty: only the same host.",
            \.client.allowedOrigins
        ),
        flag("client.compression", "Use permessage-deflate with clients that offer it.", \.client.compression),
        size(
            "client.compression_min_bytes",
            "Messages smaller than this are sent uncompressed.",
            \.client.compressionMinBytes
        ),
        duration(
            "client.handshake_timeout",
            "How long a client may take to send its HTTP head.",
            \.client.handshakeTimeout
        ),
        duration("client.heartbeat_interval", "How often each connection is pinged.", \.client.heartbeatInterval),
        duration(
            "client.heartbeat_timeout",
            "How long a client may be silent after a ping before it is closed (4408).",
            \.client.heartbeatTimeout
        ),
        size(
            "client.queue_bytes",
            "How much may wait for a slow reader before it is closed (4508).",
            \.client.queueBytes
        ),
        duration(
            "client.resume_window",
            "How long a session waits for its client after the connection broke; 0s: no sessions.",
            \.client.resumeWindow
        ),
        number(
            "client.resume_messages",
            "Messages that a session keeps until its client has confirmed them.",
            \.client.resumeMessages
        ),
        size("client.resume_bytes", "How many bytes these messages may have.", \.client.resumeBytes),
        flag(
            "client.token_in_query",
            "Also accept a token in ?token=, where it appears in the logs of proxies.",
            \.client.tokenInQuery
        ),
        list(
            "client.trusted_proxies",
            "Proxies whose X-Forwarded-For is trusted: addresses and networks (10.0.0.0/8).",
            \.client.trustedProxies
        ),
    ]

    private static let api: [ConfigurationKey] = [
        text("api.listen", "Where backends publish: an address, or unix:PATH.", \.api.listen),
        size("api.max_body_bytes", "The largest body, and the longest line of a batch.", \.api.maxBodyBytes),
        ConfigurationKey(
            name: "api.unix_socket",
            shape: .text,
            help:
                "Who needs no key on a Unix socket: anyone who can open it (trusted), or root and api.allowed_uids (key).",
            get: { .text($0.api.unixSocket.rawValue) },
            set: { configuration, value throws(ConfigurationError) in
                configuration.api.unixSocket = try choice(value.text, "api.unix_socket")
            }
        ),
        ConfigurationKey(
            name: "api.allowed_uids",
            shape: .list,
            help: "With api.unix_socket: key, users (by number) who need none, besides root and the service's own.",
            get: { .list($0.api.allowedUIDs.map(String.init)) },
            set: { configuration, value throws(ConfigurationError) in
                var uids: [UInt32] = []
                for text in try list(value, "api.allowed_uids") {
                    guard let uid = UInt32(text) else {
                        throw ConfigurationError(key: "api.allowed_uids", why: "'\(text)' is not a user number")
                    }
                    uids.append(uid)
                }
                configuration.api.allowedUIDs = uids
            }
        ),
        duration(
            "api.timeout",
            "How long a backend may pause while it sends a request or reads its answers.",
            \.api.timeout
        ),
    ]

    private static let metrics: [ConfigurationKey] = [
        optional(
            "metrics.listen",
            "Where GET /metrics, and nothing else, is served without a key: an address, or unix:PATH.",
            \.metrics.listen
        )
    ]

    private static let auth: [ConfigurationKey] = [
        optional(
            "auth.hmac_secret_file",
            "The file with the secret for HS256 (HS384, HS512): 32 bytes or more (48, 64). Or the credential hmac_secret.",
            \.auth.hmacSecretFile
        ),
        optional(
            "auth.previous_hmac_secret_file",
            "The file with the previous secret, still accepted. Or the credential previous_hmac_secret.",
            \.auth.previousHMACSecretFile
        ),
        optional(
            "auth.jwks_file",
            "The file with the public keys (a JSON Web Key Set) for RS, PS, ES and EdDSA. Or the credential jwks.",
            \.auth.jwksFile
        ),
        optional("auth.issuer", "What a token's iss must be; empty: anything.", \.auth.issuer),
        optional("auth.audience", "What a token's aud must name; empty: anything.", \.auth.audience),
        duration("auth.leeway", "How far the clocks of token issuers may differ.", \.auth.leeway),
        optional(
            "auth.api_keys_file",
            "The file with the keys of backends, one per line. Or the credential api_keys.",
            \.auth.apiKeysFile
        ),
        flag(
            "auth.any_room",
            "Let clients join any thread or job, not only those that their token names.",
            \.auth.anyRoom
        ),
    ]

    private static let rooms: [ConfigurationKey] = [
        flag(
            "rooms.thread_reaches_user",
            "A message to an empty thread goes to the user with the same id.",
            \.rooms.threadReachesUser
        )
    ]

    private static let limits: [ConfigurationKey] = [
        number("limits.connections", "WebSockets on the whole node.", \.limits.connections),
        number("limits.connections_per_user", "WebSockets of one user; 0: no limit.", \.limits.connectionsPerUser),
        ConfigurationKey(
            name: "limits.over_user_limit",
            shape: .text,
            help: "A connection over that limit is refused (reject), or replaces the oldest (replace_oldest: 4409).",
            get: { .text($0.limits.overUserLimit.rawValue) },
            set: { configuration, value throws(ConfigurationError) in
                configuration.limits.overUserLimit = try choice(value.text, "limits.over_user_limit")
            }
        ),
        number(
            "limits.connections_per_address",
            "WebSockets from one IPv4 address or one IPv6 /64 network; 0: no limit.",
            \.limits.connectionsPerAddress
        ),
        number(
            "limits.handshakes_per_second",
            "Upgrades on the whole node by clients with a valid token; 0: no limit.",
            \.limits.handshakesPerSecond
        ),
        number(
            "limits.bad_tokens_per_second",
            "Bad tokens from one address, at each worker; 0: no limit. Proxies not in client.trusted_proxies do not count.",
            \.limits.badTokensPerSecond
        ),
        number(
            "limits.messages_per_second",
            "Messages and pings of one client, each 32 KiB counting as one; 0: no limit. Over it: an error, then 4429.",
            \.limits.messagesPerSecond
        ),
        number("limits.message_burst", "Messages that one client may send at once.", \.limits.messageBurst),
        number(
            "limits.http_connections",
            "HTTP connections of a worker, on each kind of listener. Over it, the one that is idle longest is closed.",
            \.limits.httpConnections
        ),
        size(
            "limits.body_bytes",
            "How many bytes of bodies a worker receives at the same time. Over it: 503 overloaded.",
            \.limits.bodyBytes
        ),
        size(
            "limits.partial_message_bytes",
            "A worker's memory for unfinished messages over 16 KiB. Over it, the client with the oldest is closed (1013).",
            \.limits.partialMessageBytes
        ),
        number(
            "limits.waiting_sessions",
            "Sessions that wait for their clients in one worker. Over it, the oldest ends.",
            \.limits.waitingSessions
        ),
        size(
            "limits.session_bytes",
            "A worker's bytes of messages that sessions keep, once for each session. Over it, the oldest waiting one ends.",
            \.limits.sessionBytes
        ),
    ]

    private static let supervision: [ConfigurationKey] = [
        duration(
            "supervision.liveness_interval",
            "How often a worker reports that it is alive.",
            \.supervision.livenessInterval
        ),
        duration(
            "supervision.liveness_timeout",
            "How long a worker may be silent before it is replaced.",
            \.supervision.livenessTimeout
        ),
        duration(
            "supervision.restart_backoff_min",
            "The wait after the second failed start; it doubles with each further one.",
            \.supervision.restartBackoffMinimum
        ),
        duration("supervision.restart_backoff_max", "The longest such wait.", \.supervision.restartBackoffMaximum),
        duration(
            "supervision.handover_timeout",
            "How long a worker may take to become ready, and all workers may take to stop.",
            \.supervision.handoverTimeout
        ),
        size(
            "supervision.hold_bytes",
            "How much may wait for one worker before the senders get 503.",
            \.supervision.holdBytes
        ),
    ]

    private static let log: [ConfigurationKey] = [
        ConfigurationKey(
            name: "log.level",
            shape: .text,
            help: "debug, info, warning or error; debug shows user ids.",
            get: { .text($0.log.level.rawValue) },
            set: { configuration, value throws(ConfigurationError) in
                configuration.log.level = try choice(value.text, "log.level")
            }
        ),
        ConfigurationKey(
            name: "log.format",
            shape: .text,
            help: "journal, text or json; auto: the journal under systemd, text on a terminal, otherwise json.",
            get: { .text($0.log.format.rawValue) },
            set: { configuration, value throws(ConfigurationError) in
                configuration.log.format = try choice(value.text, "log.format")
            }
        ),
    ]
}

// MARK: - Kinds of keys

extension ConfigurationKey {
    private typealias Path<Value> = any WritableKeyPath<Configuration, Value> & Sendable

    private static func text(_ name: String, _ help: String, _ path: Path<String>) -> ConfigurationKey {
        ConfigurationKey(
            name: name,
            shape: .text,
            help: help,
            get: { .text($0[keyPath: path]) },
            set: { $0[keyPath: path] = $1.text }
        )
    }

    /// Makes a key with text, where an empty text means that it is not set.
    private static func optional(_ name: String, _ help: String, _ path: Path<String?>) -> ConfigurationKey {
        ConfigurationKey(
            name: name,
            shape: .text,
            help: help,
            get: { .text($0[keyPath: path] ?? "") },
            set: { $0[keyPath: path] = $1.text.isEmpty ? nil : $1.text }
        )
    }

    private static func list(_ name: String, _ help: String, _ path: Path<[String]>) -> ConfigurationKey {
        ConfigurationKey(
            name: name,
            shape: .list,
            help: help,
            get: { .list($0[keyPath: path]) },
            set: { configuration, value throws(ConfigurationError) in
                configuration[keyPath: path] = try list(value, name)
            }
        )
    }

    private static func number(_ name: String, _ help: String, _ path: Path<Int>) -> ConfigurationKey {
        ConfigurationKey(
            name: name,
            shape: .number,
            help: help,
            get: { .text(String($0[keyPath: path])) },
            set: { configuration, value throws(ConfigurationError) in
                configuration[keyPath: path] = try number(value.text, name)
            }
        )
    }

    private static func size(_ name: String, _ help: String, _ path: Path<Int>) -> ConfigurationKey {
        ConfigurationKey(
            name: name,
            shape: .size,
            help: help,
            get: { .text(String($0[keyPath: path])) },
            set: { configuration, value throws(ConfigurationError) in
                configuration[keyPath: path] = try size(value.text, name)
            }
        )
    }

    private static func flag(_ name: String, _ help: String, _ path: Path<Bool>) -> ConfigurationKey {
        ConfigurationKey(
            name: name,
            shape: .flag,
            help: help,
            get: { .text($0[keyPath: path] ? "true" : "false") },
            set: { configuration, value throws(ConfigurationError) in
                guard let flag = Bool(value.text) else {
                    throw ConfigurationError(key: name, why: "'\(value.text)' is neither true nor false")
                }
                configuration[keyPath: path] = flag
            }
        )
    }

    private static func duration(_ name: String, _ help: String, _ path: Path<Duration>) -> ConfigurationKey {
        ConfigurationKey(
            name: name,
            shape: .duration,
            help: help,
            get: { .text(shown($0[keyPath: path])) },
            set: { configuration, value throws(ConfigurationError) in
                configuration[keyPath: path] = try duration(value.text, name)
            }
        )
    }
}
