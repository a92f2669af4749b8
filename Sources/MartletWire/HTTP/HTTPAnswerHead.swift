// SPDX-License-Identifier: Apache-2.0

/// The head of an answer, as our own clients read it.
package struct HTTPAnswerHead: Sendable {
    package let status: Int
    /// The length of the body, if the answer says it.
    package let contentLength: Int?
    /// How many bytes the head has.
    package let count: Int

    /// Reads the head at the beginning of an answer; nil if the bytes end before it; throws if it is malformed.
    package init?(in source: [UInt8]) throws(HTTPProblem) {
        let bytes = source.span.extracting(0..<min(source.count, HTTPHead.mostBytes))
        guard let end = try HTTPHead.endOfLine(bytes, from: 0) else {
            if bytes.count == HTTPHead.mostBytes { throw .headTooLarge }
            return nil
        }
        guard end >= 12, bytes.begins(with: "HTTP/1.1 ", at: 0..<end), let status = Int(bytes.text(at: 9..<12)) else {
            throw .badRequest("not an HTTP/1.1 answer")
        }
        var head = HTTPHead()
        guard try head.readFields(bytes, from: end + 2) else {
            if bytes.count == HTTPHead.mostBytes { throw .headTooLarge }
            return nil
        }
        self.status = status
        contentLength = try head.contentLength(bytes)
        count = head.count
    }
}
