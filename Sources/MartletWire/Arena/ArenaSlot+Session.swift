// SPDX-License-Identifier: Apache-2.0

// What a slot holds for a session; meaningless without ``ArenaSlot/Flags/session``.

extension ArenaSlot {
    /// Where a session's queue begins: before its first message that the client has not confirmed.
    package struct Kept: Equatable, Sendable {
        /// How many entries have ever left the queue.
        package var entries: UInt32
        /// How many messages of the session are not held any more, because they were confirmed or too many.
        package var messages: UInt32

        package init(entries: UInt32, messages: UInt32) {
            self.entries = entries
            self.messages = messages
        }
    }

    /// Where a session's queue begins.
    ///
    /// Both are in one word, so that a message is counted as gone together with its entry.
    package var kept: Kept {
        get {
            let word: UInt64 = load(Field.kept)
            return Kept(entries: UInt32(truncatingIfNeeded: word), messages: UInt32(word >> 32))
        }
        nonmutating set { store(UInt64(newValue.messages) << 32 | UInt64(newValue.entries), Field.kept) }
    }

    /// How many bytes the messages have that were sent and are kept.
    package var keptBytes: UInt32 {
        get { load(Field.keptBytes) }
        nonmutating set { store(newValue, Field.keptBytes) }
    }

    /// How many messages of a session's client were handled.
    package var messagesReceived: UInt32 {
        get { load(Field.messagesReceived) }
        nonmutating set { store(newValue, Field.messagesReceived) }
    }

    /// How often a session was resumed.
    package var resumes: UInt32 {
        get { load(Field.resumes) }
        nonmutating set { store(newValue, Field.resumes) }
    }

    /// When a session began to wait for its client (monotonic nanoseconds).
    package var waitingSince: UInt64 {
        get { load(Field.waitingSince) }
        nonmutating set { store(newValue, Field.waitingSince) }
    }
}
