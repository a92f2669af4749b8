// SPDX-License-Identifier: Apache-2.0

/// A stream of frames in both directions, without its socket: bytes in, frames out; frames in, bytes out.
package struct PeerStream {
    /// A frame that came in; its payload is `input[payload]` until the next call of ``next()``.
    package struct Frame: Equatable, Sendable {
        package let header: PeerHeader
        package let payload: Range<Int>
    }

    /// The received bytes, which the owner appends.
    package var input: [UInt8] = []
    /// The bytes that must be sent, beginning at ``outputStart``.
    package private(set) var output: [UInt8] = []
    package private(set) var outputStart = 0
    private var start = 0

    package init() {}

    /// Continues a stream that is already in use.
    package init(input: [UInt8], output: [UInt8]) {
        self.input = input
        self.output = output
    }

    /// The received bytes that are not a whole frame yet.
    package var unread: [UInt8] { Array(input[start...]) }
    /// The bytes that must still be sent.
    package var unsent: [UInt8] { Array(output[outputStart...]) }

    /// Reads the next frame; nil when more bytes are needed.
    ///
    /// Throws if the bytes are not a frame.
    package mutating func next() throws(WireError) -> Frame? {
        guard let header = try PeerHeader.parse(input, at: start) else {
            dropConsumed()
            return nil
        }
        let payload = start + PeerHeader.length
        guard input.count - payload >= header.payloadLength else {
            dropConsumed()
            return nil
        }
        start = payload + header.payloadLength
        return Frame(header: header, payload: payload..<start)
    }

    /// How many bytes wait to be sent.
    package var queuedBytes: Int { output.count - outputStart }

    package mutating func append(_ header: PeerHeader, _ payload: [UInt8]) {
        header.write(to: &output)
        output.append(contentsOf: payload)
    }

    /// Appends a whole frame, head and payload.
    package mutating func append(_ frame: [UInt8]) { output.append(contentsOf: frame) }

    /// Appends a frame whose payload was received elsewhere.
    package mutating func append(_ header: PeerHeader, copying payload: Range<Int>, of input: [UInt8]) {
        header.write(to: &output)
        output.append(copying: input.span.extracting(payload))
    }

    /// Notes that so many bytes were sent.
    package mutating func didSend(_ count: Int) {
        outputStart += count
        if outputStart == output.count {
            output.removeAll(keepingCapacity: output.capacity <= 262_144)
            outputStart = 0
        } else if outputStart > 1_048_576 {
            output.removeFirst(outputStart)
            outputStart = 0
        }
    }

    private mutating func dropConsumed() {
        guard start > 0 else { return }
        if start == input.count {
            input.removeAll(keepingCapacity: input.capacity <= 262_144)
        } else {
            input.removeFirst(start)
        }
        start = 0
    }
}
