// SPDX-License-Identifier: Apache-2.0

/// What a message can be addressed to besides a user: a thread of a conversation, or a job with its watchers.
package struct Room: Hashable, Sendable, CustomStringConvertible {
    package enum Kind: UInt8, CaseIterable, Sendable {
        case thread = 1
        case job = 2

        package var name: String {
            switch self {
            case .thread: "thread"
            case .job: "job"
            }
        }
    }

    package let kind: Kind
    private let exactID: ExactText

    package var id: String { exactID.text }

    package init(_ kind: Kind, _ id: String) {
        self.kind = kind
        exactID = ExactText(id)
    }

    package static func thread(_ id: String) -> Room { Room(.thread, id) }
    package static func job(_ id: String) -> Room { Room(.job, id) }

    package var description: String { "\(kind.name) \(id)" }
}

/// The news that a room got its first member on this shard, or lost its last one.
package struct RoomChange: Equatable, Sendable {
    package let room: Room
    package let isOccupied: Bool

    package init(room: Room, isOccupied: Bool) {
        self.room = room
        self.isOccupied = isOccupied
    }
}

/// The result of joining a room.
package enum RoomEntry: Equatable, Sendable {
    case joined
    case alreadyThere
    /// The connection, or the user, is already in as many rooms as it may be.
    case tooMany
    /// There is no such connection.
    case unknown
}
