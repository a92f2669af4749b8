/// A command as it travels: with the key under which its answer is remembered, where it has one.
package struct Request: Equatable, Sendable {
    package let command: Command
    package let key: RequestKey?

    package init(_ command: Command, key: RequestKey? = nil) {
        self.command = command
        self.key = key
    }
}

/// An `Idempotency-Key`, and what it was used for.
package struct RequestKey: Hashable, Sendable {
    package let text: String
    /// Of the address and the body, so that a key which is used for two things is found out.
    package let fingerprint: UInt64

    package init(_ text: String, fingerprint: UInt64) {
        self.text = text
        self.fingerprint = fingerprint
    }

    /// `body` is what the backend sent, before any envelope: a timestamp would make every request another.
    package init(_ text: String, of command: Command, _ body: Span<UInt8>, isEvent: Bool) {
        var fingerprint = Fingerprint()
        let address =
            switch command {
            case .sendToUser(let user): "u" + user
            case .sendToConnection(let id): "c" + id.text
            case .sendToRoom(let room): room.kind.name + " " + room.id
            case .broadcast(let excluded): "b" + excluded.joined(separator: "\u{0}")
            default: ""
            }
        fingerprint.add(Array(address.utf8).span)
        fingerprint.add([isEvent ? 1 : 0].span)
        fingerprint.add(body)
        self.init(text, fingerprint: fingerprint.value)
    }
}
