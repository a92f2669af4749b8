// SPDX-License-Identifier: Apache-2.0

internal import MartletWire

/// Makes the tables that people read.
enum Report {
    static func status(_ node: JSONValue) -> String {
        let shards = node["shards"]?.array ?? []
        let serving = shards.count { $0["state"]?.string == "serving" }
        let summary =
            "Martlet \(text(node["version"])), up \(uptime(node["uptime_seconds"])): "
            + "\(serving) of \(counted(shards.count, "shard")) \(shards.count == 1 ? "serves" : "serve") "
            + "\(counted(node["total_connections"]?.int ?? 0, "connection")) "
            + "of \(counted(node["unique_users"]?.int ?? 0, "user"))"
        let waiting = sessionsWaiting(shards)
        return summary + (waiting == 0 ? "" : "; \(counted(waiting, "session")) without one")
            + "\n" + self.shards(shards)
    }

    /// How many sessions wait for their clients, on all shards.
    static func sessionsWaiting(_ shards: [JSONValue]) -> Int {
        shards.reduce(0) { $0 + ($1["sessions_waiting"]?.int ?? 0) }
    }

    static func statistics(_ node: JSONValue) -> String {
        var rows = [
            ["connections", text(node["total_connections"])],
            ["sessions waiting", "\(sessionsWaiting(node["shards"]?.array ?? []))"],
            ["users", text(node["unique_users"])],
            ["threads", text(node["threads"])],
            ["jobs", text(node["jobs"])],
        ]
        for kind in ["messages", "bytes"] {
            for member in node[kind]?.members ?? [] { rows.append(["\(kind) \(member.key)", text(member.value)]) }
        }
        rows.append(["uptime", uptime(node["uptime_seconds"])])
        var result = table(rows) + "\n\n" + shards(node["shards"]?.array ?? [])
        if node["connections_by_user"] != nil { result += "\n\n" + users(node) }
        return result
    }

    static func shards(_ shards: [JSONValue]) -> String {
        let header = [
            "SHARD", "STATE", "PID", "CONNECTIONS", "USERS", "SENT", "QUEUED", "RSS", "CPU", "RESTARTS", "LAST",
        ]
        let rows = shards.map { shard in
            [
                text(shard["shard"]), text(shard["state"]), text(shard["pid"]), text(shard["connections"]),
                text(shard["users"]), text(shard["messages_sent"]), size(shard["queue_bytes"]),
                size(shard["rss_bytes"]), "\(text(shard["cpu_seconds"])) s", text(shard["restarts"]),
                shard["last_restart"]?["reason"]?.string ?? "-",
            ]
        }
        return table([header] + rows)
    }

    /// Returns a number with its noun, such as `1 user` or `2 users`.
    static func counted(_ count: Int, _ what: String) -> String { "\(count) \(what)\(count == 1 ? "" : "s")" }

    /// Returns every user with the number of connections, such as `{"users":[{"user_id":"alice","connections":2}]}`.
    static func usersJSON(_ node: JSONValue) -> String {
        var json = JSONWriter()
        json.beginObject()
        json.key("users")
        json.beginArray()
        for member in node["connections_by_user"]?.members ?? [] {
            json.beginObject()
            json.member("user_id", member.key)
            json.member("connections", member.value.int ?? 0)
            json.endObject()
        }
        json.endArray()
        json.endObject()
        return Printable.json(String(decoding: json.bytes, as: UTF8.self))
    }

    static func users(_ node: JSONValue) -> String {
        let rows = (node["connections_by_user"]?.members ?? []).map { [$0.key, text($0.value)] }
        return table([["USER", "CONNECTIONS"]] + rows)
    }

    static func connections(_ answer: JSONValue) -> String {
        let rows = (answer["connections"]?.array ?? []).map { connection in
            [
                text(connection["connection_id"]), text(connection["shard"]), text(connection["connected_at"]),
                text(connection["last_seen_at"]),
                connection["round_trip_ms"]?.double.map { "\($0) ms" } ?? "-",
                session(connection["session"]),
                (connection["threads"]?.array ?? []).compactMap(\.string).joined(separator: " "),
                size(connection["queue_bytes"]), text(connection["address"]), text(connection["user_agent"]),
            ]
        }
        let header = [
            "CONNECTION", "SHARD", "CONNECTED", "LAST SEEN", "ROUND TRIP", "SESSION", "THREADS", "QUEUED", "ADDRESS",
            "USER AGENT",
        ]
        return table([header] + rows)
    }

    /// Says whether a connection is a session, and whether that waits for its client.
    private static func session(_ session: JSONValue?) -> String {
        guard let resumes = session?["resumes"]?.int else { return "-" }
        if session?["waiting_since"]?.string != nil { return "waiting" }
        return resumes == 0 ? "yes" : "resumed \(resumes)x"
    }

    static func receipt(_ receipt: JSONValue) -> String {
        "matched \(text(receipt["matched"])), delivered \(text(receipt["delivered"])), "
            + "held \(text(receipt["held"])), failed \(text(receipt["failed"]))"
    }

    /// Makes a table with columns as wide as their widest cell, and with all text made printable.
    static func table(_ rows: [[String]]) -> String {
        let rows = rows.map { row in row.map { Printable.text($0) } }
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in rows.map { $0.count > column ? $0[column].count : 0 }.max() ?? 0 }
        return rows.map { row in
            row.enumerated().map { index, cell in
                index == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[index] - cell.count)
            }.joined(separator: "  ")
        }.joined(separator: "\n")
    }

    static func text(_ value: JSONValue?) -> String {
        switch value {
        case .string(let text): text
        case .number(let number): Int(exactly: number).map(String.init) ?? String(number)
        case .bool(let flag): flag ? "yes" : "no"
        default: "-"
        }
    }

    static func uptime(_ value: JSONValue?) -> String {
        let seconds = value?.int ?? 0
        if seconds < 120 { return "\(seconds) s" }
        if seconds < 7200 { return "\(seconds / 60) min" }
        return seconds < 172_800 ? "\(seconds / 3600) h" : "\(seconds / 86400) d"
    }

    static func size(_ value: JSONValue?) -> String {
        let bytes = value?.int ?? 0
        if bytes < 10240 { return "\(bytes) B" }
        return bytes < 10_485_760 ? "\(bytes / 1024) KiB" : "\(bytes / 1_048_576) MiB"
    }
}
