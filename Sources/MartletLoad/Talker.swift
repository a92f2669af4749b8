// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// A client that sends numbered messages in every way that the protocol allows.
///
/// It sends them whole, in fragments, and with a pause in the middle of a frame. It lives on its loop.
final class Talker {
    let client: LoadClient
    private let loop: any EventLoop
    private let message: (_ number: Int, _ padding: Int) -> ByteBuffer
    /// How many messages it has sent so far.
    private(set) var said = 0

    init(_ client: LoadClient, on loop: any EventLoop, message: @escaping (Int, Int) -> ByteBuffer) {
        self.client = client
        self.loop = loop
        self.message = message
    }

    /// Sends the next message, and calls `then` when all of it was sent.
    func say(_ then: @escaping () -> Void) {
        said += 1
        let payload = Array(message(said, [5, 5, 5, 400, 30000].randomElement() ?? 5).readableBytesView)
        let cut = Int.random(in: 1..<payload.count)
        switch Int.random(in: 0..<4) {
        case 0:
            let pieces = [
                Self.frame(0x1, isLast: false, payload[..<cut]), Self.frame(0x0, isLast: true, payload[cut...]),
            ]
            send(pieces, then)
        case 1:
            let frame = Self.frame(0x1, isLast: true, payload[...])
            let middle = Int.random(in: 1..<frame.count)
            send([Array(frame[..<middle]), Array(frame[middle...])], then)
        default: send([Self.frame(0x1, isLast: true, payload[...])], then)
        }
    }

    private func send(_ pieces: [[UInt8]], _ then: @escaping () -> Void) {
        guard let first = pieces.first else { return then() }
        client.send(raw: ByteBuffer(bytes: first))
        let rest = NIOLoopBound((self, Array(pieces.dropFirst()), then), eventLoop: loop)
        if pieces.count == 1 { return then() }
        loop.scheduleTask(in: .milliseconds(.random(in: 0...60))) {
            let (talker, pieces, then) = rest.value
            talker.send(pieces, then)
        }
    }

    /// Makes a masked frame (RFC 6455, 5.2).
    private static func frame(_ opcode: UInt8, isLast: Bool, _ payload: ArraySlice<UInt8>) -> [UInt8] {
        var bytes: [UInt8] = [opcode | (isLast ? 0x80 : 0)]
        switch payload.count {
        case ..<126: bytes.append(0x80 | UInt8(payload.count))
        case ..<65536: bytes += [0x80 | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        default:
            bytes.append(0x80 | 127)
            for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(payload.count >> shift & 255)) }
        }
        let mask = (0..<4).map { _ in UInt8.random(in: 0...255) }
        bytes += mask
        for (index, byte) in payload.enumerated() { bytes.append(byte ^ mask[index & 3]) }
        return bytes
    }
}
