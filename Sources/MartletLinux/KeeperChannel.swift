// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// What a worker leaves behind: its clients' sockets, which its keeper holds.
///
/// The supervisor and the heir hold the same end of the keeper's channel. The sockets stay with the keeper, whatever
/// happens to an heir, until ``dismiss()``.
package final class KeeperChannel {
    /// A message from a keeper.
    package enum Word: Equatable, Sendable {
        /// The keeper has started, as this process.
        case born(pid: Int32)
        /// There are at most so many sockets.
        case count(Int)
        /// The sockets that came with this message.
        case sockets([Int32])
        /// All sockets have been sent; this is their number.
        case end(Int)
    }

    /// The most sockets that come with one message.
    package static let mostAtOnce = Int(MARTLET_MAX_DESCRIPTORS)

    package let channel: Int32
    /// Whether the kernel has closed descriptors because our table was full.
    package private(set) var lost = false

    /// Takes over our end of the channel.
    package init(owning channel: Int32) {
        self.channel = channel
    }

    deinit { closeDescriptor(channel) }

    /// Asks how many sockets there are at most; returns false if the question could not be sent.
    package func askCount() -> Bool { say("c") }
    /// Asks for all sockets; returns false if the question could not be sent.
    package func askSockets() -> Bool { say("g") }
    /// Ends the keeper, and with it its hold on the sockets, which are ours now.
    package func dismiss() { _ = say("x") }

    private func say(_ word: StaticString) -> Bool {
        unsafe martlet_send_descriptors(channel, word.utf8Start, 1, nil, 0) == 1
    }

    /// Receives the keeper's next message; nil if nothing waits.
    ///
    /// Throws if the keeper is gone.
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

    /// Waits for the keeper's next message, for a limited time.
    package func wait(milliseconds: Int32) throws(SystemCallError) -> Word? {
        var ready = pollfd(fd: channel, events: Int16(POLLIN), revents: 0)
        _ = unsafe poll(&ready, 1, milliseconds)
        return try next()
    }
}
