// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// What a client may send, as JSON text.
package enum ClientMessage: Equatable, Sendable {
    /// `{"type":"ping"}`, in a session with `"received":N`, which confirms as `ack` does.
    case ping(received: UInt32?)
    /// `{"type":"ack","received":N}`: the client of a session has received so many messages.
    case ack(UInt32)
    /// `{"type":"join_thread","thread_id":"T"}`, or the same with `job`.
    case join(Room)
    case leave(Room)
    /// `{"type":"authenticate","token":"..."}`
    case authenticate(String)
    /// JSON with a type that nothing here handles, or without a type.
    case unsupported(type: String?)
    /// A known type without its other members; the sentence says what is missing.
    case incomplete(String)
    /// Text that is not JSON.
    case malformed(JSONFailure)

    package init(_ text: Span<UInt8>) {
        do throws(JSONFailure) {
            try JSONScanner.validate(text)
        } catch {
            self = .malformed(error)
            return
        }
        switch JSONMembers.text(of: "type", in: text) {
        case "ping": self = .ping(received: Self.count("received", text))
        case "ack":
            let count = Self.count("received", text)
            self = count.map(ClientMessage.ack) ?? .incomplete("received must be a whole number from 0 to 4294967295")
        case "join_thread": self = Self.room(.thread, "thread_id", text, ClientMessage.join)
        case "leave_thread": self = Self.room(.thread, "thread_id", text, ClientMessage.leave)
        case "join_job": self = Self.room(.job, "job_id", text, ClientMessage.join)
        case "leave_job": self = Self.room(.job, "job_id", text, ClientMessage.leave)
        case "authenticate":
            let slice = JSONMembers.slice(of: "token", in: text)
            let token = slice.flatMap { JSONMembers.string($0, in: text, longest: TokenText.longest) }
            self = token.map(ClientMessage.authenticate) ?? .incomplete("token must be a string of at most 8192 bytes")
        case let type: self = .unsupported(type: type)
        }
    }

    private static func count(_ member: StaticString, _ text: Span<UInt8>) -> UInt32? {
        guard let slice = JSONMembers.slice(of: member, in: text), (1...10).contains(slice.count) else { return nil }
        var number: UInt64 = 0
        for index in slice {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(text[index]) else { return nil }
            number = number * 10 + UInt64(text[index] - UInt8(ascii: "0"))
        }
        return UInt32(exactly: number)
    }

    private static func room(
        _ kind: Room.Kind,
        _ member: StaticString,
        _ text: Span<UInt8>,
        _ make: (Room) -> ClientMessage
    ) -> ClientMessage {
        guard let id = JSONMembers.text(of: member, in: text), !id.isEmpty else {
            return .incomplete("\(member) must be a string of 1 to 256 bytes")
        }
        return make(Room(kind, id))
    }
}
