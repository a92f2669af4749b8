// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// A SOCK_SEQPACKET socket that carries packets with at most one descriptor each, with credits in both directions.
///
/// A packet that cannot be sent at once (there is no credit, or the socket is full) waits in a bounded queue together
/// with its descriptor. The channel owns a descriptor from the moment that ``send(_:descriptor:)`` accepts it, and
/// closes its own number once the kernel has it. A channel lives on one event loop; its owner calls ``flush()`` when
/// the socket is writable or credits have arrived.
package final class DescriptorChannel {
    /// A packet that arrived.
    ///
    /// The receiver owns the descriptor.
    package struct Packet {
        package let bytes: [UInt8]
        package let descriptor: Int32?

        package init(bytes: [UInt8], descriptor: Int32?) {
            self.bytes = bytes
            self.descriptor = descriptor
        }
    }

    /// Why a packet was not accepted.
    package enum Refusal: Error, Equatable {
        /// The queue is full: the peer takes descriptors too slowly.
        case full
        /// The packet is larger than ``largestPacket``.
        case tooLarge
        case closed
    }

    /// The largest packet: an HTTP head, what was read after it, and what was learnt from it.
    package static let largestPacket = 64 * 1024

    private static let grantMark: UInt8 = 0xFF
    private static let packetMark: UInt8 = 0x01

    package let descriptor: Int32
    /// How many packets were refused because the queue was full.
    package private(set) var refused = 0
    /// How many descriptors the kernel closed because our table was full, when there were more credits than room.
    package private(set) var lost = 0
    /// True once the peer has gone, and everything that it sent was received: nothing more will arrive or be sent.
    package private(set) var isClosed = false
    /// Whether the peer takes nothing any more; what it has sent may still have to be received.
    private var isBroken = false
    private var window: CreditWindow
    private var waiting: [(bytes: [UInt8], descriptor: Int32?)] = []
    private var waitingStart = 0
    /// How many credits must still be granted.
    ///
    /// They never wait behind packets, which may themselves wait for credit: two ends that wait for each other's grants
    /// would wait forever.
    private var owed = 0
    private let bound: Int
    private var buffer = [UInt8](repeating: 0, count: largestPacket + 1)

    /// Takes over a connected SEQPACKET socket.
    ///
    /// - Parameters:
    ///   - descriptor: The socket, which is closed with the channel.
    ///   - window: How many descriptors the peer may have on their way to us.
    ///   - bound: How many packets may wait here.
    package init(owning descriptor: Int32, window: Int, bound: Int) {
        self.descriptor = descriptor
        self.window = CreditWindow(size: window)
        self.bound = bound
        StreamSocket.setBuffers(descriptor, receive: 1 << 20, send: 1 << 20)
        grant(window)
    }

    /// Continues a channel as the previous program of this process left it (``saved``).
    package init(resuming descriptor: Int32, _ saved: Saved, bound: Int) {
        self.descriptor = descriptor
        window = saved.window
        owed = saved.owed
        waiting = saved.waiting.map { ([Self.packetMark] + $0.bytes, $0.descriptor) }
        self.bound = bound
    }

    /// The state of a channel, without its socket.
    package struct Saved {
        package var window: CreditWindow
        package var owed: Int
        package var waiting: [Packet]

        package init(window: CreditWindow, owed: Int, waiting: [Packet]) {
            self.window = window
            self.owed = owed
            self.waiting = waiting
        }
    }

    /// The state that the next program of this process needs to continue the channel.
    package var saved: Saved {
        let packets = waiting[waitingStart...].map {
            Packet(bytes: Array($0.bytes.dropFirst()), descriptor: $0.descriptor)
        }
        return Saved(window: window, owed: owed, waiting: packets)
    }

    deinit {
        for (_, descriptor) in waiting[waitingStart...] { descriptor.map(closeDescriptor) }
        closeDescriptor(descriptor)
    }

    /// How many packets wait for credit or room.
    package var queued: Int { waiting.count - waitingStart }
    /// True if the owner must watch for writability.
    ///
    /// A packet that waits for credit is not a reason: a socket with room would be reported as writable all the time.
    package var wantsToWrite: Bool {
        guard !isClosed, !isBroken else { return false }
        if owed > 0 { return true }
        return queued > 0 && (waiting[waitingStart].descriptor == nil || window.available > 0)
    }

    /// Sends a packet, or queues it.
    ///
    /// If the packet is refused, the caller keeps the descriptor.
    package func send(_ bytes: [UInt8], descriptor passed: Int32?) throws(Refusal) {
        if isClosed || isBroken { throw .closed }
        if bytes.count > Self.largestPacket { throw .tooLarge }
        if queued == 0, attempt([Self.packetMark] + bytes, passed) { return }
        if isBroken { throw .closed }
        if queued >= bound {
            refused += 1
            throw .full
        }
        waiting.append(([Self.packetMark] + bytes, passed))
    }

    /// Sends the packets that wait, as far as credits and the socket allow.
    package func flush() {
        sendGrants()
        while waitingStart < waiting.count, !isClosed, !isBroken {
            let (bytes, passed) = waiting[waitingStart]
            guard attempt(bytes, passed) else { break }
            waitingStart += 1
        }
        if waitingStart == waiting.count {
            waiting.removeAll(keepingCapacity: waiting.capacity <= 1024)
            waitingStart = 0
        } else if waitingStart > 1024 {
            waiting.removeFirst(waitingStart)
            waitingStart = 0
        }
    }

    /// Removes the packets that wait, with their descriptors, from a channel whose peer is gone.
    package func takeWaiting() -> [Packet] {
        defer {
            waiting = []
            waitingStart = 0
        }
        return waiting[waitingStart...].map { Packet(bytes: Array($0.bytes.dropFirst()), descriptor: $0.descriptor) }
    }

    /// Returns true if the packet was sent; then the channel's own number of its descriptor is closed.
    private func attempt(_ bytes: [UInt8], _ passed: Int32?) -> Bool {
        if passed != nil, !window.spend(1) { return false }
        let sent = unsafe bytes.withUnsafeBytes { buffer in
            guard var number = passed else {
                return unsafe martlet_send_descriptors(descriptor, buffer.baseAddress, buffer.count, nil, 0)
            }
            return unsafe martlet_send_descriptors(descriptor, buffer.baseAddress, buffer.count, &number, 1)
        }
        if sent >= 0 {
            passed.map(closeDescriptor)
            return true
        }
        if !Self.isPassing(errno) { isBroken = true }
        if passed != nil { window.granted(1) }
        return false
    }

    /// Receives the next packet.
    ///
    /// Returns nil if none waits, or the peer has gone (``isClosed``), or too many messages came that are not packets;
    /// in the last case the socket is still readable.
    package func receive() -> Packet? {
        for _ in 0..<64 where !isClosed {
            var passed: Int32 = -1
            var count: Int32 = 0
            var truncated: Int32 = 0
            let length = unsafe buffer.withUnsafeMutableBytes { bytes in
                unsafe martlet_receive_descriptors(
                    descriptor,
                    bytes.baseAddress,
                    bytes.count,
                    &passed,
                    1,
                    &count,
                    &truncated
                )
            }
            if length < 0 {
                if !Self.isPassing(errno) { isClosed = true }
                return nil
            }
            if length == 0 {
                if count == 1 { closeDescriptor(passed) }
                isClosed = true
                return nil
            }
            if truncated != 0 {
                // The descriptor table is full: this client is lost, the process is not.
                if count == 1 { closeDescriptor(passed) }
                lost += 1
                grant(window.took(1))
                continue
            }
            if buffer[0] == Self.grantMark, length == 5 {
                // A grant has no descriptor. If one comes all the same, it is closed, so that it cannot fill our table.
                if count == 1 { closeDescriptor(passed) }
                window.granted((1...4).reduce(0) { $0 << 8 | Int(buffer[$1]) })
                flush()
                continue
            }
            if count == 1 { grant(window.took(1)) }
            return Packet(bytes: Array(buffer[1..<length]), descriptor: count == 1 ? passed : nil)
        }
        return nil
    }

    /// Returns true for what is over soon: nothing to read, no room, or no memory in the kernel.
    ///
    /// ETOOMANYREFS means that too many descriptors of this user are on their way; they will be received.
    private static func isPassing(_ error: Int32) -> Bool {
        [EAGAIN, ETOOMANYREFS, ENOBUFS, ENOMEM].contains(error)
    }

    private func grant(_ count: Int) {
        owed += count
        sendGrants()
    }

    private func sendGrants() {
        guard owed > 0, !isClosed, !isBroken else { return }
        let bytes = [Self.grantMark] + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: owed >> $0) }
        if attempt(bytes, nil) { owed = 0 }
    }
}
