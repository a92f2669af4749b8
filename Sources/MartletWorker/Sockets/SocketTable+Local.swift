// SPDX-License-Identifier: Apache-2.0

extension SocketTable {
    /// What this process knows about a slot in addition to the arena, in 24 bytes, as there may be a million of them.
    struct Local {
        var descriptor: Int32 = -1
        var generation: UInt32 = 0
        /// When the expiry of its token is checked next, in Unix milliseconds; max: not soon.
        var expiryEntry = UInt64.max
        /// Its number among the connections that hold bytes of unfinished messages that count; 0: it holds none.
        var partial: UInt32 = 0
        /// How many fragments have come since some last counted as a message.
        var fragments: UInt16 = 0
        private var bits: UInt8 = 0
        /// The second in which a session's client last confirmed messages for nothing, modulo 256.
        var acknowledged: UInt8 = 0

        init() {}

        init(descriptor: Int32, generation: UInt32) {
            self.descriptor = descriptor
            self.generation = generation
        }

        /// Whether it waits in the list of slots to flush.
        var isDirty: Bool {
            get { has(1) }
            set { set(1, newValue) }
        }

        /// Whether epoll watches for room to write.
        var watchesWritable: Bool {
            get { has(2) }
            set { set(2, newValue) }
        }

        /// Whether it is over, and is released at the end of the turn.
        var isGone: Bool {
            get { has(4) }
            set { set(4, newValue) }
        }

        /// Whether nothing is written until the switchboard knows the rooms that the connection has joined.
        var isHeld: Bool {
            get { has(8) }
            set { set(8, newValue) }
        }

        /// Whether it waits in the list of slots that are read later.
        var isPutOff: Bool {
            get { has(16) }
            set { set(16, newValue) }
        }

        private func has(_ bit: UInt8) -> Bool { bits & bit != 0 }

        private mutating func set(_ bit: UInt8, _ isOn: Bool) { bits = isOn ? bits | bit : bits & ~bit }
    }
}
