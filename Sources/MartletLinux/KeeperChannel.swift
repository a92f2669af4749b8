internal import CMartletLinux
internal import Glibc

/// What a worker leaves behind: its clients' sockets, in the hands of its keeper.
///
/// The supervisor and the heir hold the same end of the keeper's channel. The sockets stay with the keeper, whatever
/// becomes of an heir, until ``dismiss()``.
package final class KeeperChannel {
    /// Something that a keeper said.
    package enum Word: Equatable, Sendable {
        /// It lives, and is this process.
        case born(pid: Int32)
        /// So many sockets there are at most.
        case count(Int)
        /// So many descriptors came with this message.
        case sockets([Int32])
        /// That were all, so many.
        case end(Int)
    }

    /// The most sockets that come with one word.
    package static let mostAtOnce = Int(MARTLET_MAX_DESCRIPTORS)

    package let channel: Int32
    /// Descriptors that the kernel closed because our table was full.
    package private(set) var lost = false

    /// Takes over the channel's end.
    package init(owning channel: Int32) {
        self.channel = channel
    }

    deinit { closeDescriptor(channel) }

    /// Asks how many sockets there are at most.
    package func askCount() -> Bool { say("c") }
    /// Asks for all of them.
    package func askSockets() -> Bool { say("g") }
    /// They are ours now: the keeper ends, and its hold on them with it.
    package func dismiss() { _ = say("x") }

    private func say(_ word: StaticString) -> Bool {
        unsafe martlet_send_descriptors(channel, word.utf8Start, 1, nil, 0) == 1
    }

    /// What it said next; nil where nothing waits.
    ///
    /// Throws where the keeper is gone.
    package func next() throws(SystemCallError) -> Word? {
        var bytes: [UInt8] = [0, 0, 0, 0, 0]
        var descriptors = [Int32](repeating: -1, count: Int(MARTLET_MAX_DESCRIPTORS))
        var count: Int32 = 0
        var truncated: Int32 = 0
        let length = unsafe martlet_receive_descriptors(
            channel,
            &bytes,
            5,
            &descriptors,
            MARTLET_MAX_DESCRIPTORS,
            &count,
            &truncated
        )
        if length < 0 {
            if errno == EAGAIN { return nil }
            throw .last("recvmsg")
        }
        guard length > 0 else { throw SystemCallError("keeper", EPIPE) }
        if truncated != 0 { lost = true }
        if bytes[0] != UInt8(ascii: "s") { descriptors.prefix(Int(count)).forEach(closeDescriptor) }
        let number = (1...4).reversed().reduce(0) { $0 << 8 | Int(bytes[$1]) }
        switch bytes[0] {
        case UInt8(ascii: "k"): return .born(pid: Int32(truncatingIfNeeded: number))
        case UInt8(ascii: "c"): return .count(number)
        case UInt8(ascii: "s"): return .sockets(Array(descriptors.prefix(Int(count))))
        case UInt8(ascii: "e"): return .end(number)
        default: throw SystemCallError("keeper", EPROTO)
        }
    }

    /// Waits for the next word, at most so long.
    package func wait(milliseconds: Int32) throws(SystemCallError) -> Word? {
        var ready = pollfd(fd: channel, events: Int16(POLLIN), revents: 0)
        _ = unsafe poll(&ready, 1, milliseconds)
        return try next()
    }
}
