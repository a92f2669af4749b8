// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// Makes the answers to API calls, in one place for workers and the supervisor.
package enum APIAnswer {
    /// Makes the answer to a call that the shards have replied to.
    package static func response(to call: APICall, _ reply: CommandReply) -> HTTPResponse {
        switch (call, reply) {
        case (_, .failed(let failure)): problem(failure).response
        // A shard that does not answer does not say which users its connections belong to.
        case (.node(true), .node(let node)) where node.shards.contains { $0.connectionsByUser == nil }:
            problem(.shardUnavailable(partial: nil)).response
        case (.node(let byUser), .node(let node)): .json(nodeText(node, byUser: byUser))
        case (.shards, .node(let node)): .json(shardsText(node.shards))
        case (.shard(let number), .node(let node)): shard(number, node)
        case (.readiness, .node(let node)): readiness(node)
        case (.metrics, .node(let node)): MetricsText.response(node)
        case (.command(.describe), .connections(let list)):
            list.first.map { .json(text(of: $0)) } ?? problem(.unknownConnection).response
        case (_, .receipt(let delivery)): .json(text(of: delivery))
        case (_, .connections(let list)): .json(connectionsText(list))
        case (_, .closed(let count)): .json(closedText(count))
        case (.command(.unbind), .bound(let changed)): .json(leftText(0, changed: changed))
        case (_, .bound(let isNew)): .json(boundText(isNew))
        case (_, .left(let count)): .json(leftText(count, changed: true))
        case (_, .token(let token)): .json(tokenText(token))
        case (_, .claims(let claims)): .json(text(of: claims))
        case (_, .tokenRefused(let problem)): HTTPProblem(422, problem.code, problem.detail).response
        default: problem(.malformed).response
        }
    }

    /// Makes the answer to what a client has posted.
    package static func response(toPost reply: CommandReply) -> HTTPResponse {
        switch reply {
        case .received(let count, isWhole: true): return .json(receivedText(count))
        case .received(let count, isWhole: false):
            var problem = HTTPProblem(
                409,
                "messages_missing",
                "messages before these were not received: post them first"
            )
            problem.members = [.init(name: "received", value: Int(count))]
            return problem.response
        case .closed(let count): return .json(closedText(count))
        case .failed(.unknownConnection): return unknownSession.response
        case .failed(let failure): return problem(failure).response
        default: return problem(.malformed).response
        }
    }

    /// The problem of whoever posts to a session that is not, or not any more, a session of its user.
    package static let unknownSession = HTTPProblem(404, "unknown_session", "this user has no such session (any more)")

    private static func receivedText(_ count: UInt32) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("received", Int(count))
        json.endObject()
        return json.bytes
    }

    package static let healthy = HTTPResponse.text("ok\n")

    /// Returns the HTTP problem for a command that failed.
    package static func problem(_ failure: CommandFailure) -> HTTPProblem {
        switch failure {
        case .shardUnavailable(let partial):
            var problem = HTTPProblem(
                503,
                "shard_unavailable",
                "a worker that owns part of the address is being replaced: try again"
            )
            .with("Retry-After", "1")
            if let partial {
                problem.members = [
                    .init(name: "matched", value: partial.matched),
                    .init(name: "delivered", value: partial.delivered),
                    .init(name: "held", value: partial.held),
                    .init(name: "failed", value: partial.failed),
                ]
            }
            return problem
        case .overloaded:
            return HTTPProblem(503, "overloaded", "a queue is full: send more slowly").with("Retry-After", "1")
        case .messageTooLarge:
            return HTTPProblem(413, "message_too_large", "the message is larger than client.queue_bytes")
        case .keyReused:
            return HTTPProblem(422, "idempotency_key_reused", "this key was already used for a different request")
        case .tooManyRooms:
            return HTTPProblem(429, "too_many_rooms", "this user is already bound to the maximum number of threads")
        case .cannotSign:
            return HTTPProblem(
                422,
                "cannot_sign",
                "there is no auth.hmac_secret_file: only the owner of the private keys can make tokens"
            )
        case .notOpen:
            return HTTPProblem(409, "not_open", "this session reads no server-sent events now: resume it with GET /sse")
        case .unknownConnection: return HTTPProblem(404, "unknown_connection", "no connection has this id")
        case .poisonous:
            return HTTPProblem(500, "poisonous", "a worker ended twice while it handled this: do not repeat it")
        case .malformed: return HTTPProblem(500, "internal", "the processes did not understand each other: see the log")
        }
    }

    /// Returns the HTTP problem for a body that is not JSON.
    package static func problem(_ failure: JSONFailure) -> HTTPProblem {
        var problem = HTTPProblem(400, "invalid_json", "\(failure.why), at byte \(failure.offset)")
        problem.members = [.init(name: "offset", value: failure.offset)]
        return problem
    }

    package static func unknownShard(among count: Int) -> HTTPProblem {
        let which = count == 1 ? "1 shard: 0" : "\(count) shards: 0 to \(count - 1)"
        return HTTPProblem(404, "unknown_shard", "this node has \(which)")
    }

    private static func shard(_ number: Int, _ node: NodeStatistics) -> HTTPResponse {
        guard let shard = node.shards.first(where: { $0.shard == number }) else {
            return unknownShard(among: node.shards.count).response
        }
        var json = JSONWriter()
        write(shard, to: &json)
        return .json(json.bytes)
    }

    private static func readiness(_ node: NodeStatistics) -> HTTPResponse {
        let missing = node.shards.filter { $0.state != .serving }
        if missing.isEmpty { return .text("ready\n") }
        let names = missing.map { "shard \($0.shard) is \($0.state.name)" }.joined(separator: ", ")
        return HTTPProblem(503, "not_ready", names).with("Retry-After", "1").response
    }

    private static func closedText(_ count: Int) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("closed", count)
        json.endObject()
        return json.bytes
    }

    /// Makes the answer to an unbinding; `changed` means that the user was bound, or had connections in the thread.
    private static func leftText(_ count: Int, changed: Bool) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.key("changed")
        json.value(changed)
        json.member("removed", count)
        json.endObject()
        return json.bytes
    }

    private static func boundText(_ isNew: Bool) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.key("changed")
        json.value(isNew)
        json.endObject()
        return json.bytes
    }

    private static func tokenText(_ token: String) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("token", token)
        json.endObject()
        return json.bytes
    }

    private static func text(of claims: TokenClaims) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("user_id", claims.subject)
        json.member(
            "expires_at",
            claims.expiresAt.map { Timestamp.text(unixMilliseconds: Int64(min(max($0, 0), 9e12) * 1000)) }
        )
        json.member("issuer", claims.issuer)
        json.member("audience", claims.audiences.isEmpty ? nil : claims.audiences.joined(separator: ", "))
        json.member("threads", claims.threads ?? [])
        json.member("jobs", claims.jobs ?? [])
        json.endObject()
        return json.bytes
    }

    private static func connectionsText(_ list: [ConnectionSummary]) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.key("connections")
        json.beginArray()
        for connection in list { write(connection, to: &json) }
        json.endArray()
        json.endObject()
        return json.bytes
    }

    private static func shardsText(_ shards: [ShardStatistics]) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.key("shards")
        json.beginArray()
        for shard in shards { write(shard, to: &json) }
        json.endArray()
        json.endObject()
        return json.bytes
    }

    /// Makes the JSON of the whole node, as `GET /v1/stats` shows it.
    package static func nodeText(_ node: NodeStatistics, byUser: Bool) -> [UInt8] {
        var json = JSONWriter()
        let counters = node.counters
        json.beginObject()
        json.member("total_connections", node.totalConnections)
        json.member("unique_users", node.uniqueUsers)
        if byUser, let counts = node.connectionsByUser {
            json.key("connections_by_user")
            json.beginObject()
            for (user, count) in counts.sorted(by: { $0.key < $1.key }) { json.member(user.text, count) }
            json.endObject()
        }
        json.member("threads", node.threads)
        json.member("jobs", node.jobs)
        json.key("messages")
        json.beginObject()
        json.member("sent", counters[.messagesSent])
        json.member("received", counters[.messagesReceived])
        json.member("failed", counters[.messagesFailed])
        json.member("dropped", counters[.messagesDropped])
        json.member("held", counters[.messagesHeld])
        json.endObject()
        json.key("bytes")
        json.beginObject()
        json.member("sent", counters[.bytesSent])
        json.member("received", counters[.bytesReceived])
        json.endObject()
        json.key("uptime_seconds")
        json.seconds(nanoseconds: node.uptimeNanoseconds)
        json.member("version", Martlet.version)
        json.key("shards")
        json.beginArray()
        for shard in node.shards { write(shard, to: &json) }
        json.endArray()
        json.endObject()
        return json.bytes
    }

    private static let deliveredToOne = receipt(Delivery(matched: 1, delivered: 1, failed: 0))
    private static let deliveredToNobody = receipt(Delivery())

    /// Returns the JSON of a receipt, which may also be a line of a batch's answer; usually it is one of two.
    package static func text(of delivery: Delivery) -> [UInt8] {
        if delivery == Delivery(matched: 1, delivered: 1, failed: 0) { return deliveredToOne }
        return delivery == Delivery() ? deliveredToNobody : receipt(delivery)
    }

    private static func receipt(_ delivery: Delivery) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(64)
        text.append("{\"matched\":")
        text.append(decimal: delivery.matched)
        text.append(",\"delivered\":")
        text.append(decimal: delivery.delivered)
        text.append(",\"held\":")
        text.append(decimal: delivery.held)
        text.append(",\"failed\":")
        text.append(decimal: delivery.failed)
        text.append("}")
        return text
    }

    private static func text(of connection: ConnectionSummary) -> [UInt8] {
        var json = JSONWriter()
        write(connection, to: &json)
        return json.bytes
    }

    private static func write(_ connection: ConnectionSummary, to json: inout JSONWriter) {
        json.beginObject()
        json.member("connection_id", connection.id.text)
        json.member("user_id", connection.user)
        json.member("shard", connection.shard)
        json.member("connected_at", Timestamp.text(unixMilliseconds: connection.connectedAt))
        json.member("last_seen_at", Timestamp.text(unixMilliseconds: connection.lastSeenAt))
        json.member("expires_at", connection.expiresAt.map { Timestamp.text(unixMilliseconds: $0) })
        json.member("thread_id", connection.thread)
        json.member("threads", connection.threads)
        json.member("jobs", connection.jobs)
        json.member("address", connection.origin.flatMap { $0.address.isEmpty ? nil : $0.address })
        json.member("user_agent", connection.origin.flatMap { $0.agent.isEmpty ? nil : $0.agent })
        json.key("metadata")
        if let metadata = connection.metadata { json.value(json: metadata) } else { json.null() }
        json.key("round_trip_ms")
        if let roundTrip = connection.roundTrip { json.thousandths(roundTrip) } else { json.null() }
        json.key("session")
        if let session = connection.session {
            json.beginObject()
            json.member("waiting_since", session.waitingSince.map { Timestamp.text(unixMilliseconds: $0) })
            json.member("resumes", session.resumes)
            json.member("unconfirmed_messages", session.unconfirmed)
            json.endObject()
        } else {
            json.null()
        }
        json.member("queue_messages", connection.queuedMessages)
        json.member("queue_bytes", connection.queuedBytes)
        json.endObject()
    }

    private static func write(_ shard: ShardStatistics, to json: inout JSONWriter) {
        json.beginObject()
        json.member("shard", shard.shard)
        json.member("pid", Int(shard.pid))
        json.member("generation", Int(shard.generation))
        json.member("state", shard.state.name)
        json.member("connections", shard.connections)
        json.member("users", shard.users)
        json.member("threads", shard.threads)
        json.member("jobs", shard.jobs)
        json.member("messages_sent", shard.counters[.messagesSent])
        json.member("messages_received", shard.counters[.messagesReceived])
        json.member("messages_failed", shard.counters[.messagesFailed])
        json.member("messages_dropped", shard.counters[.messagesDropped])
        json.member("queue_bytes", shard.queueBytes)
        json.member("slots_in_use", shard.slotsInUse)
        json.member("sessions_waiting", shard.sessionsWaiting)
        json.member("held_bytes", shard.heldBytes)
        json.member("rss_bytes", shard.residentBytes)
        json.key("cpu_seconds")
        json.seconds(nanoseconds: shard.cpuNanoseconds)
        json.member("restarts", shard.restarts)
        json.key("last_restart")
        if let end = shard.lastEnd {
            json.beginObject()
            json.member("reason", end)
            if let restart = shard.lastRestart {
                json.member("at", Timestamp.text(unixMilliseconds: restart.at))
                json.member("connections_kept", restart.kept)
                json.member("connections_lost", restart.lost)
                json.member("pause_ms", restart.pauseMilliseconds)
                json.member("positions_unrecorded", restart.unrecorded)
                write(phasesOf: restart, to: &json)
            }
            json.endObject()
        } else {
            json.null()
        }
        json.endObject()
    }

    private static func write(phasesOf restart: Restart, to json: inout JSONWriter) {
        json.key("phases_ms")
        // Nobody has measured them, or an older version told.
        guard restart.collecting > 0 else { return json.null() }
        json.beginObject()
        for (name, microseconds) in [
            ("prepare", restart.preparing), ("collect", restart.collecting), ("recover", restart.recovering),
        ] {
            json.key(name)
            json.thousandths(microseconds)
        }
        json.endObject()
    }
}
