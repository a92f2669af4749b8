/// A stream of frames in both directions, without its socket: bytes in, frames out, and the other way round.
package struct PeerStream {
    /// A frame that came in; its payload is `input[payload]` until the next call of ``next()``.
    package struct Frame: Equatable, Sendable {
        package let header: PeerHeader
        package let payload: Range<Int>
    }

    /// What was received; the owner appends.
    package var input: [UInt8] = []
    /// What must be sent, from ``outputStart``.
    package private(set) var output: [UInt8] = []
    package private(set) var outputStart = 0
    private var start = 0

    package init() {}

    /// One that is under way.
    package init(input: [UInt8], output: [UInt8]) {
        self.input = input
        self.output = output
    }

    /// What was received and is no whole frame yet.
    package var unread: [UInt8] { Array(input[start...]) }
    /// What must still be sent.
    package var unsent: [UInt8] { Array(output[outputStart...]) }

    /// The next frame; nil when more bytes are needed.
    ///
    /// Throws where the peer speaks another language.
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

    /// Bytes that wait to be sent.
    package var queuedBytes: Int { output.count - outputStart }

    package mutating func append(_ header: PeerHeader, _ payload: [UInt8]) {
        header.write(to: &output)
        output.append(contentsOf: payload)
    }

    /// Appends a whole frame, head and payload.
    package mutating func append(_ frame: [UInt8]) { output.append(contentsOf: frame) }

    /// Appends a frame whose payload came in elsewhere.
    package mutating func append(_ header: PeerHeader, copying payload: Range<Int>, of input: [UInt8]) {
        header.write(to: &output)
        output.append(copying: input.span.extracting(payload))
    }

    /// So many bytes were sent.
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
