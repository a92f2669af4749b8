// SPDX-License-Identifier: Apache-2.0

extension Configuration {
    /// Every invalid value, with its key.
    package var problems: [ConfigurationError] {
        var problems: [ConfigurationError] = []
        func require(_ condition: Bool, _ key: String, _ why: String) {
            if !condition { problems.append(ConfigurationError(key: key, why: why)) }
        }
        if let workers {
            let range = 1...ShardMap.largestShardCount
            require(range.contains(workers), "workers", "must be `auto` or 1 to \(range.upperBound)")
        }
        require(client.path.hasPrefix("/"), "client.path", "must begin with /")
        require(
            !["/healthz", "/echo", "/martlet.js", "/"].contains(client.path) && !client.path.contains("?"),
            "client.path",
            "is used by Martlet itself, or has a query"
        )
        require(
            (125...16_777_216).contains(client.maxMessageBytes),
            "client.max_message_bytes",
            "must be 125 to 16777216"
        )
        require((4096...268_435_456).contains(client.queueBytes), "client.queue_bytes", "must be 4096 to 268435456")
        require(
            (0...16_777_216).contains(client.compressionMinBytes),
            "client.compression_min_bytes",
            "must be 0 to 16777216"
        )
        require((1024...16_777_216).contains(api.maxBodyBytes), "api.max_body_bytes", "must be 1024 to 16777216")
        require((1...1_000_000).contains(limits.connections), "limits.connections", "must be 1 to 1000000")
        require(limits.connectionsPerUser >= 0, "limits.connections_per_user", "must be 0 (no limit) or more")
        require(limits.connectionsPerAddress >= 0, "limits.connections_per_address", "must be 0 (no limit) or more")
        require(
            (0...1_000_000).contains(limits.handshakesPerSecond),
            "limits.handshakes_per_second",
            "must be 0 (no limit) to 1000000"
        )
        require(
            (0...1_000_000).contains(limits.badTokensPerSecond),
            "limits.bad_tokens_per_second",
            "must be 0 (no limit) to 1000000"
        )
        require(
            (0...1_000_000).contains(limits.messagesPerSecond),
            "limits.messages_per_second",
            "must be 0 (no limit) to 1000000"
        )
        require((1...1_000_000).contains(limits.messageBurst), "limits.message_burst", "must be 1 to 1000000")
        require(
            (16...1_000_000).contains(limits.httpConnections),
            "limits.http_connections",
            "must be 16 to 1000000"
        )
        require(
            limits.bodyBytes >= 2 * api.maxBodyBytes + 262_144 && limits.bodyBytes <= 1 << 40,
            "limits.body_bytes",
            "must be at least 262144 plus twice api.max_body_bytes"
        )
        require(
            limits.partialMessageBytes >= 4 * client.maxMessageBytes && limits.partialMessageBytes <= 1 << 40,
            "limits.partial_message_bytes",
            "must be at least four times client.max_message_bytes"
        )
        require(
            client.resumeWindow == .zero || (.seconds(1)...Duration.seconds(900)).contains(client.resumeWindow),
            "client.resume_window",
            "must be 0s (no sessions), or 1s to 15m"
        )
        require((1...65536).contains(client.resumeMessages), "client.resume_messages", "must be 1 to 65536")
        require((1024...16_777_216).contains(client.resumeBytes), "client.resume_bytes", "must be 1024 to 16777216")
        require(
            (1...1_000_000).contains(limits.waitingSessions),
            "limits.waiting_sessions",
            "must be 1 to 1000000"
        )
        require(
            limits.sessionBytes >= client.resumeBytes && limits.sessionBytes <= 1 << 40,
            "limits.session_bytes",
            "must be at least client.resume_bytes"
        )
        for origin in client.allowedOrigins {
            if let problem = OriginPolicy.problem(origin) {
                require(false, "client.allowed_origins", problem)
            }
        }
        require(
            auth.leeway >= .zero && auth.leeway <= .seconds(300),
            "auth.leeway",
            "must be 0s to 5m"
        )
        require(supervision.holdBytes >= 1_048_576, "supervision.hold_bytes", "must be at least 1048576")
        for (key, duration) in durations {
            require(duration >= .milliseconds(10) && duration <= .seconds(3600), key, "must be 10ms to 1h")
        }
        require(
            supervision.livenessTimeout > supervision.livenessInterval,
            "supervision.liveness_timeout",
            "must be longer than liveness_interval"
        )
        require(
            supervision.restartBackoffMaximum >= supervision.restartBackoffMinimum,
            "supervision.restart_backoff_max",
            "must not be shorter than restart_backoff_min"
        )
        return problems
    }

    private var durations: [(String, Duration)] {
        [
            ("client.handshake_timeout", client.handshakeTimeout),
            ("client.heartbeat_interval", client.heartbeatInterval),
            ("client.heartbeat_timeout", client.heartbeatTimeout),
            ("api.timeout", api.timeout),
            ("supervision.liveness_interval", supervision.livenessInterval),
            ("supervision.liveness_timeout", supervision.livenessTimeout),
            ("supervision.restart_backoff_min", supervision.restartBackoffMinimum),
            ("supervision.restart_backoff_max", supervision.restartBackoffMaximum),
            ("supervision.handover_timeout", supervision.handoverTimeout),
        ]
    }
}
