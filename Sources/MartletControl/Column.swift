/// What `martletctl top` shows of a shard, the dearest columns first: where a terminal is narrow the last ones go.
enum Column: String, CaseIterable {
    case shard = "SHARD"
    case state = "STATE"
    case connections = "CONNS"
    case sent = "SENT/S"
    case processor = "CPU%"
    case queued = "QUEUED"
    case received = "RECV/S"
    case memory = "RSS"
    case users = "USERS"
    case pid = "PID"

    static let all = allCases
}
