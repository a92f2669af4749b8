// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// The metrics of the whole node in the text format of Prometheus (version 0.0.4), which any worker can return.
package enum MetricsText {
    package static func response(_ node: NodeStatistics) -> HTTPResponse {
        HTTPResponse(200, .metrics, body: Array(text(node).utf8))
    }

    package static func text(_ node: NodeStatistics) -> String {
        var metrics = Metrics()
        metrics.gauge("martlet_build_info", "Constant 1, with the version.", [("version", Martlet.version)], "1")
        metrics.gauge("martlet_uptime_seconds", "Time since the service started.", [], decimal(node.uptimeNanoseconds))
        if let supervisor = node.supervisor { limits(supervisor, &metrics) }
        processes(node, &metrics)
        metrics.gauge("martlet_threads", "Threads that have members.", [], "\(node.threads)")
        metrics.gauge("martlet_jobs", "Jobs that have watchers.", [], "\(node.jobs)")
        gauges(node, &metrics)
        counters(node, &metrics)
        closes(node, &metrics)
        refusals(node, &metrics)
        sessions(node, &metrics)
        answers(node, &metrics)
        metrics.counter(
            "martlet_switchboard_refused_total",
            "Requests between shards that were refused because of a full queue or a missing shard.",
            [([], node.switchboardRefused)]
        )
        metrics.counter(
            "martlet_switchboard_repeated_total",
            "Publishes for several shards that were answered by their idempotency key.",
            [([], node.switchboardRepeated)]
        )
        metrics.counter(
            "martlet_switchboard_rerouted_total",
            "Requests between shards that were in flight while the number of shards changed.",
            [([], node.switchboardRerouted)]
        )
        for (timing, name, help) in timings { metrics.histogram(name, help, node.counters[timing]) }
        return metrics.text
    }

    private static func gauges(_ node: NodeStatistics, _ metrics: inout Metrics) {
        let perShard: [(String, String, (ShardStatistics) -> String)] = [
            ("martlet_shard_up", "1 while the shard serves.", { $0.state == .serving ? "1" : "0" }),
            ("martlet_connections", "WebSockets that are open.", { "\($0.connections)" }),
            ("martlet_users", "Users who are connected.", { "\($0.users)" }),
            ("martlet_http_connections", "Open HTTP connections.", { "\($0.httpConnections)" }),
            ("martlet_queue_bytes", "Bytes that wait for slow readers.", { "\($0.queueBytes)" }),
            ("martlet_arena_bytes", "Bytes of the shard's memory that are in use.", { "\($0.arenaBytes)" }),
            ("martlet_sessions_waiting", "Sessions that wait for their clients.", { "\($0.sessionsWaiting)" }),
            (
                "martlet_sessions_held_bytes", "Bytes of messages that sessions keep until they are confirmed.",
                { "\($0.heldBytes)" }
            ),
            ("martlet_slots_in_use", "Slots of the shard's memory in use.", { "\($0.slotsInUse)" }),
            ("martlet_resident_memory_bytes", "Resident memory of the worker.", { "\($0.residentBytes)" }),
        ]
        for (name, help, value) in perShard {
            metrics.family(name, "gauge", help, node.shards.map { ([("shard", "\($0.shard)")], value($0)) })
        }
        metrics.family(
            "martlet_cpu_seconds_total",
            "counter",
            "CPU time of the shard's current worker.",
            node.shards.map { ([("shard", "\($0.shard)")], decimal($0.cpuNanoseconds)) }
        )
        metrics.family(
            "martlet_worker_restarts_total",
            "counter",
            "Workers that were replaced: because they had ended, or as planned.",
            node.shards.flatMap { shard in
                [("ended", Counter.unplannedRestarts), ("planned", .plannedRestarts)].map { reason, counter in
                    ([("shard", "\(shard.shard)"), ("reason", reason)], "\(shard.counters[counter])")
                }
            }
        )
    }

    private static func limits(_ supervisor: SupervisorStatistics, _ metrics: inout Metrics) {
        metrics.family(
            "martlet_limit",
            "gauge",
            "Limits of the configuration, by key; 0: no limit.",
            supervisor.limits.map { ([("key", $0.key)], "\($0.value)") }
        )
        metrics.gauge(
            "process_start_time_seconds",
            "When the service was started, in seconds since 1970.",
            [],
            "\(supervisor.startedAt / 1000).\(String(1000 + supervisor.startedAt % 1000).dropFirst())"
        )
    }

    /// Writes for each of our processes the metrics that the standard Prometheus libraries have for a process.
    private static func processes(_ node: NodeStatistics, _ metrics: inout Metrics) {
        let all =
            (node.supervisor.map { supervisor in
                [
                    (
                        "supervisor", supervisor.cpuNanoseconds, supervisor.residentBytes, supervisor.openDescriptors,
                        supervisor.descriptorLimit
                    )
                ]
            } ?? [])
            + node.shards.map {
                ("worker-\($0.shard)", $0.cpuNanoseconds, $0.residentBytes, $0.openDescriptors, $0.descriptorLimit)
            }
        metrics.family(
            "process_cpu_seconds_total",
            "counter",
            "CPU time, user and system, of the current process.",
            all.map { ([("process", $0.0)], decimal($0.1)) }
        )
        let gauges: [(String, String, (Int) -> String)] = [
            ("process_resident_memory_bytes", "Resident memory.", { "\(all[$0].2)" }),
            ("process_open_fds", "Open file descriptors.", { "\(all[$0].3)" }),
            ("process_max_fds", "Maximum number of open file descriptors.", { "\(all[$0].4)" }),
        ]
        for (name, help, value) in gauges {
            metrics.family(name, "gauge", help, all.indices.map { ([("process", all[$0].0)], value($0)) })
        }
    }

    private static let names: [(Counter, String, String)] = [
        (.messagesSent, "martlet_messages_delivered_total", "Messages that a connection's queue accepted."),
        (.messagesReceived, "martlet_messages_received_total", "Messages from clients."),
        (.messagesHeld, "martlet_messages_held_total", "Messages that a session without a connection has taken."),
        (.sessionsResumed, "martlet_sessions_resumed_total", "Sessions that went on over a new connection."),
        (.sessionsExpired, "martlet_sessions_expired_total", "Sessions whose client did not come back in time."),
        (.sessionsEvicted, "martlet_sessions_evicted_total", "Waiting sessions that ended to make room for others."),
        (.messagesFailed, "martlet_messages_failed_total", "Messages that a connection could not accept."),
        (.messagesDropped, "martlet_messages_dropped_total", "Messages that were lost when their connection ended."),
        (.bytesSent, "martlet_bytes_delivered_total", "Payload bytes of delivered messages."),
        (.bytesReceived, "martlet_bytes_received_total", "Payload bytes of clients' messages."),
        (.messagesRateLimited, "martlet_messages_rate_limited_total", "Messages from clients over their rate."),
        (
            .connectionsOpened, "martlet_connections_opened_total",
            "Clients that came in: over WebSockets, and over streams of server-sent events."
        ),
        (
            .eventStreamsOpened, "martlet_event_streams_opened_total",
            "Clients that came in over streams of server-sent events."
        ),
        (.handshakeTimeouts, "martlet_handshake_timeouts_total", "Connections whose HTTP head took too long."),
        (
            .acceptPauses, "martlet_accept_pauses_total",
            "How often accepting paused for lack of descriptors or room."
        ),
        (.apiUnauthorized, "martlet_api_unauthorized_total", "API requests without a valid key."),
        (.publishes, "martlet_publishes_total", "Publishes that backends asked for."),
        (.publishesRepeated, "martlet_publishes_repeated_total", "Publishes answered by their idempotency key."),
        (.publishesRefused, "martlet_publishes_refused_total", "Publishes that could not be carried out completely."),
        (.requestsTimedOut, "martlet_requests_timed_out_total", "Requests to other shards without an answer."),
        (.roomsRefused, "martlet_rooms_refused_total", "Joins beyond the limit of rooms for one member."),
        (.pingsSent, "martlet_pings_total", "WebSocket pings sent."),
        (
            .idempotencyForgotten, "martlet_idempotency_forgotten_total",
            "Remembered answers that were evicted early."
        ),
        (.logLinesLost, "martlet_log_lines_lost_total", "Log lines that were dropped because there were too many."),
        (
            .connectionsPoisoned, "martlet_connections_poisoned_total",
            "Connections closed because handling their message ended the worker."
        ),
        (
            .httpEvicted, "martlet_http_evicted_total",
            "HTTP connections closed to make room for others."
        ),
        (.httpUnread, "martlet_http_unread_total", "HTTP connections whose peer did not read its answers."),
        (.bodiesRefused, "martlet_bodies_refused_total", "Requests refused because of too many bodies at a time."),
        (
            .partialMessagesRefused, "martlet_partial_messages_refused_total",
            "Connections closed because unfinished messages took too much memory."
        ),
    ]

    private static func counters(_ node: NodeStatistics, _ metrics: inout Metrics) {
        for (counter, name, help) in names {
            metrics.counter(name, help, node.shards.map { ([("shard", "\($0.shard)")], $0.counters[counter]) })
        }
    }

    private static func closes(_ node: NodeStatistics, _ metrics: inout Metrics) {
        let counts = node.counters.closes
        metrics.counter(
            "martlet_closes_total",
            "Connections that ended, by close code.",
            CloseLabel.all.enumerated().map { ([("code", $1)], counts[$0]) }
        )
    }

    private static let reasons: [(Counter, String)] = [
        (.refusedMalformed, "malformed"), (.refusedUnauthorized, "unauthorized"), (.refusedForbidden, "forbidden"),
        (.refusedUserLimit, "user_limit"), (.refusedAddressLimit, "address_limit"), (.refusedNodeLimit, "node_limit"),
        (.refusedHandshakeRate, "handshake_rate"), (.refusedUnavailable, "shard_unavailable"),
    ]

    private static func refusals(_ node: NodeStatistics, _ metrics: inout Metrics) {
        let counters = node.counters
        metrics.counter(
            "martlet_handshakes_refused_total",
            "Upgrades that were refused, by reason.",
            reasons.map { ([("reason", $1)], counters[$0]) }
        )
    }

    private static let resumeProblems: [(Counter, String)] = [
        (.resumesExpired, "expired"), (.resumesOverflowed, "overflow"), (.resumesUnknown, "unknown"),
        (.resumesForbidden, "forbidden"), (.resumesAhead, "ahead"),
    ]

    private static func sessions(_ node: NodeStatistics, _ metrics: inout Metrics) {
        let counters = node.counters
        metrics.counter(
            "martlet_sessions_resume_refused_total",
            "Sessions that could not be resumed, by reason.",
            resumeProblems.map { ([("reason", $1)], counters[$0]) }
        )
    }

    private static func answers(_ node: NodeStatistics, _ metrics: inout Metrics) {
        let counters = node.counters
        metrics.counter(
            "martlet_http_responses_total",
            "HTTP responses, by status; upgrades are counted as connections.",
            Counter.statuses.map { ([("code", "\($0.status)")], counters[$0.counter]) }
                + [([("code", "other")], counters[.httpOther])]
        )
    }

    private static let timings: [(Timing, String, String)] = [
        (.publish, "martlet_publish_duration_seconds", "From a publish's last byte to its answer."),
        (.roundTrip, "martlet_ping_round_trip_seconds", "From a WebSocket ping to its pong."),
        (.hop, "martlet_hop_duration_seconds", "From a request to another shard to its answer."),
    ]

    /// Formats nanoseconds as decimal seconds.
    static func decimal(_ nanoseconds: UInt64) -> String {
        "\(nanoseconds / 1_000_000_000).\(String(1_000_000_000 + nanoseconds % 1_000_000_000).dropFirst())"
    }
}
