// SPDX-License-Identifier: Apache-2.0

/// The columns of `martletctl top`, the most important ones first: a narrow terminal does not show the last ones.
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
