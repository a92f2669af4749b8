// SPDX-License-Identifier: Apache-2.0

/// What the supervisor does beside serving: one thing at a time.
indirect enum Undertaking {
    /// The shards get their first workers.
    case starting
    case idle
    /// Workers are replaced, one after another.
    case rolling(Rolling)
    /// The number of shards changes, or all get new memory.
    case scaling(Scaling)
    /// The next program checks whether it can go on; then what is under way ends, and this process becomes it.
    case upgrading(Upgrade)
    /// This process ends as soon as nothing is being replaced, at the latest at the deadline, and the workers serve on.
    case leaving(deadline: UInt64, during: Undertaking)
    /// This process ends now, and the workers serve on.
    case left
    /// Every worker closes its clients; at the deadline, those that have not ended are killed.
    case stopping(deadline: UInt64)

    /// What is being done about the workers, even while the process is about to leave.
    var present: Undertaking {
        if case .leaving(_, let present) = self { present } else { self }
    }

    var rolling: Rolling? {
        if case .rolling(let rolling) = present { rolling } else { nil }
    }

    var scaling: Scaling? {
        if case .scaling(let scaling) = present { scaling } else { nil }
    }

    var upgrading: Upgrade? {
        if case .upgrading(let upgrading) = present { upgrading } else { nil }
    }

    var stopDeadline: UInt64? {
        if case .stopping(let deadline) = self { deadline } else { nil }
    }

    var leaveDeadline: UInt64? {
        if case .leaving(let deadline, _) = self { deadline } else { nil }
    }

    /// Whether nothing is being replaced.
    var isSettled: Bool {
        switch present {
        case .starting, .idle: true
        case .rolling, .scaling, .upgrading, .leaving, .left, .stopping: false
        }
    }

    /// Why nothing else may begin now; nil: it may.
    var obstacle: String? {
        switch self {
        case .idle: nil
        case .starting: "the service is starting: try again"
        case .rolling: "workers are already being replaced: try again"
        case .scaling: "the number of workers is already being changed: try again"
        case .upgrading: "the service is already being upgraded: try again"
        case .leaving, .left: "the service is about to be restarted: try again"
        case .stopping: "the service is stopping"
        }
    }

    /// Begins something; a process that is about to leave still is, and one that has left or stops begins nothing.
    mutating func begin(_ next: Undertaking) {
        switch self {
        case .leaving(let deadline, _): self = .leaving(deadline: deadline, during: next)
        case .left, .stopping: break
        case .starting, .idle, .rolling, .scaling, .upgrading: self = next
        }
    }

    /// What was being done is over.
    mutating func end() { begin(.idle) }
}
