// SPDX-License-Identifier: Apache-2.0

/// The value that says what an event of the loop belongs to, in the 64 bits that the kernel keeps for us.
///
/// Slots and HTTP peers have a generation, so that an event that was fetched before its descriptor was closed is not
/// mistaken for an event of a newer connection in the same place.
struct EventToken: Equatable {
    enum Kind: UInt8 {
        /// A WebSocket; the index is its slot.
        case socket = 1
        /// A connection that speaks HTTP.
        case http = 2
        /// A listening socket.
        case listener = 3
        case link = 4
        case post = 5
        /// A timer; the index says which (``Timer``).
        case timer = 6
        case tether = 7
    }

    enum Timer: UInt32 {
        /// Tell the supervisor that we are alive.
        case beat = 1
        /// Close WebSockets whose closing handshake takes too long.
        case socketSweep = 2
        /// Accept again after descriptors had run out.
        case acceptAgain = 3
        /// Stop, even if some clients have not answered.
        case stopDeadline = 4
        /// Close HTTP connections whose request takes too long.
        case doorSweep = 5
        /// Ping connections, close silent ones, and look for tokens that expire.
        case health = 6
        /// Close backends that have had time to leave a retired worker.
        case drained = 7
        /// Read from the connections that were put off.
        case later = 8
        /// End sessions whose clients did not come back in time.
        case sessionSweep = 9
    }

    let kind: Kind
    let index: Int
    /// The low 24 bits of a generation.
    let generation: UInt32

    init(_ kind: Kind, index: Int = 0, generation: UInt32 = 0) {
        self.kind = kind
        self.index = index
        self.generation = generation & 0xFF_FFFF
    }

    static func timer(_ timer: Timer) -> EventToken { EventToken(.timer, index: Int(timer.rawValue)) }

    init?(_ rawValue: UInt64) {
        guard let kind = Kind(rawValue: UInt8(rawValue >> 56)) else { return nil }
        self.kind = kind
        index = Int(rawValue & 0xFFFF_FFFF)
        generation = UInt32(rawValue >> 32) & 0xFF_FFFF
    }

    static func isTimer(_ rawValue: UInt64) -> Bool { UInt8(rawValue >> 56) == Kind.timer.rawValue }

    var rawValue: UInt64 {
        UInt64(kind.rawValue) << 56 | UInt64(generation) << 32 | UInt64(UInt32(index))
    }
}
