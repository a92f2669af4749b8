// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// One line of `POST /v1/batch`: a publish as a JSON object.
package struct BatchLine {
    package let command: Command
    package let key: String?
    /// Where the message lies in the line; nil if the line has an event.
    package let message: Range<Int>?
    /// Where the type and the data of an event lie in the line; nil if the line has a message.
    package let event: (type: Range<Int>, data: Range<Int>?)?

    private static let usage =
        "a line is {\"user\":U} (or \"thread\", \"job\", \"connection\", \"all\":true) with \"message\", or \"event\" and \"data\""

    /// Reads a line; throws the answer if it is not valid.
    package init(_ line: Span<UInt8>) throws(HTTPProblem) {
        do throws(JSONFailure) {
            try JSONScanner.validate(line)
        } catch {
            throw APIAnswer.problem(error)
        }
        var members = Members()
        guard JSONMembers.forEach(in: line, { members.take(line, $0, $1) }) else { throw Self.invalid(Self.usage) }
        if let problem = members.problem { throw problem }
        guard let command = members.command else { throw Self.invalid(Self.usage) }
        self.command = command
        key = members.key
        if let key { try APICall.checkKey(key) }
        switch (members.message, members.event) {
        case (let message?, nil) where members.data == nil:
            self.message = message
            event = nil
        case (nil, let type?):
            guard type.count > 2, line[type.lowerBound] == UInt8(ascii: "\"") else {
                throw Self.invalid("event must be a string that is not empty")
            }
            message = nil
            event = (type, members.data)
        default: throw Self.invalid(Self.usage)
        }
    }

    fileprivate static func invalid(_ detail: String) -> HTTPProblem { HTTPProblem(400, "invalid_line", detail) }

    /// What has been found in a line so far.
    private struct Members {
        var command: Command?
        var key: String?
        var message: Range<Int>?
        var event: Range<Int>?
        var data: Range<Int>?
        var problem: HTTPProblem?

        mutating func take(_ line: Span<UInt8>, _ key: Range<Int>, _ value: Range<Int>) {
            do throws(HTTPProblem) {
                if JSONMembers.equals("user", line, key) {
                    let user = try text(line, value, "user")
                    try APICall.checkUser(user)
                    try address(.sendToUser(user))
                } else if JSONMembers.equals("message", line, key) {
                    message = value
                } else if JSONMembers.equals("thread", line, key) {
                    try address(.sendToRoom(.thread(try room(line, value, "thread"))))
                } else if JSONMembers.equals("job", line, key) {
                    try address(.sendToRoom(.job(try room(line, value, "job"))))
                } else if JSONMembers.equals("connection", line, key) {
                    try address(.sendToConnection(ConnectionID(try text(line, value, "connection"))))
                } else if JSONMembers.equals("all", line, key) {
                    guard JSONMembers.equals("true", line, value) else { throw invalid("all must be true") }
                    try address(.broadcast(excluding: []))
                } else if JSONMembers.equals("event", line, key) {
                    event = value
                } else if JSONMembers.equals("data", line, key) {
                    data = value
                } else if JSONMembers.equals("key", line, key) {
                    self.key = try text(line, value, "key")
                } else {
                    let name = key.prefix(64).map { line[$0] }
                    throw invalid("unknown member '\(String(decoding: name, as: UTF8.self))'")
                }
            } catch {
                problem = problem ?? error
            }
        }

        private mutating func address(_ command: Command) throws(HTTPProblem) {
            guard self.command == nil else { throw invalid("a line must have exactly one address") }
            self.command = command
        }

        private func room(_ line: Span<UInt8>, _ value: Range<Int>, _ name: String) throws(HTTPProblem) -> String {
            let id = try text(line, value, name)
            try APICall.checkRoom(id)
            return id
        }

        private func text(_ line: Span<UInt8>, _ value: Range<Int>, _ name: String) throws(HTTPProblem) -> String {
            guard let text = JSONMembers.string(value, in: line, longest: 256) else {
                throw invalid("\(name) must be a string of at most 256 bytes")
            }
            return text
        }

        private func invalid(_ detail: String) -> HTTPProblem { BatchLine.invalid(detail) }
    }
}
