// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// Server-sent events (WHATWG HTML, section 9.2): how clients get messages over plain HTTP, where no WebSocket gets through.
///
/// A text message is an event of its lines, `data: TEXT`; a heartbeat is a comment; a close frame is an event `close`, whose
/// data has its code and its reason. A line break in a text arrives as a line feed.
package enum EventStream {
    /// What a heartbeat is here: a line that clients ignore, but by which they know that there is still somebody.
    package static let comment: [UInt8] = [0x3A, 0x0A, 0x0A]

    private static let lineStart = Array("data: ".utf8)
    private static let lineFeed = UInt8(ascii: "\n")
    private static let carriageReturn = UInt8(ascii: "\r")

    /// Returns the path of the events of a server whose WebSockets have this path: the last part of it is `sse`.
    package static func path(beside path: String) -> String {
        path.prefix(through: path.lastIndex(of: "/") ?? path.startIndex) + "sse"
    }

    /// Makes the head of the answer, which has no end but that of the connection.
    ///
    /// Any page may read it, since only pages of origins that are allowed get one; no proxy may keep, change or collect it.
    package static func head(_ date: HTTPDate) -> [UInt8] {
        var head: [UInt8] = []
        head.append("HTTP/1.1 200 OK\r\n")
        head.append(contentsOf: date.field)
        head.append("Content-Type: text/event-stream\r\nCache-Control: no-store, no-transform\r\n")
        head.append("X-Accel-Buffering: no\r\nAccess-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n")
        return head
    }

    /// Returns how many bytes the event of a text has.
    package static func byteCount(of text: Span<UInt8>) -> Int {
        var count = 0
        forEachLine(of: text) { count += lineStart.count + $0.count + 1 }
        return count + 1
    }

    /// Writes the event of a text, which has ``byteCount(of:)`` bytes.
    package static func write(_ text: Span<UInt8>, to target: UnsafeMutableRawBufferPointer) {
        var end = 0
        func put(_ piece: Span<UInt8>) {
            unsafe piece.withUnsafeBytes { bytes in
                unsafe UnsafeMutableRawBufferPointer(rebasing: target[end...]).copyMemory(from: bytes)
            }
            end += piece.count
        }
        forEachLine(of: text) { line in
            put(lineStart.span)
            put(line)
            put([lineFeed].span)
        }
        put([lineFeed].span)
    }

    /// Returns true if a stored frame is the event of a text; no frame of a WebSocket begins like one.
    package static func isText(_ frame: Span<UInt8>) -> Bool {
        !frame.isEmpty && frame[0] == UInt8(ascii: "d")
    }

    /// Returns the text of an event that ``write(_:to:)`` has made.
    package static func text(of event: Span<UInt8>) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(event.count)
        // An event ends with an empty line.
        forEachLine(of: event.extracting(0..<max(0, event.count - 2))) { line in
            text.append(copying: line.extracting(min(line.count, lineStart.count)..<line.count))
            text.append(lineFeed)
        }
        text.removeLast()
        return text
    }

    /// Makes the event that ends a stream, from the payload of a close frame.
    package static func close(_ payload: [UInt8]) -> [UInt8] {
        let code = payload.count < 2 ? Int(CloseReason.normal.code) : Int(payload[0]) << 8 | Int(payload[1])
        var json = JSONWriter()
        json.beginObject()
        json.member("code", code)
        json.member("reason", String(decoding: payload.dropFirst(2), as: UTF8.self))
        json.endObject()
        return Array("event: close\ndata: ".utf8) + json.bytes + [lineFeed, lineFeed]
    }

    /// Passes each line without its end, which is CR, LF, or both.
    ///
    /// An empty text has one line.
    private static func forEachLine(of text: Span<UInt8>, _ body: (Span<UInt8>) -> Void) {
        var start = 0
        var index = 0
        while index < text.count {
            let byte = text[index]
            index += 1
            guard byte == lineFeed || byte == carriageReturn else { continue }
            body(text.extracting(start..<index - 1))
            if byte == carriageReturn, index < text.count, text[index] == lineFeed { index += 1 }
            start = index
        }
        body(text.extracting(start..<text.count))
    }
}
