// SPDX-License-Identifier: Apache-2.0

/// A command as it travels: with the key under which its answer is remembered, if it has one.
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
    /// A hash of the address and the body, by which a key that is used for two requests is detected.
    package let fingerprint: UInt64

    package init(_ text: String, fingerprint: UInt64) {
        self.text = text
        self.fingerprint = fingerprint
    }

    /// Makes a key with the fingerprint of a command and its body.
    ///
    /// `body` is what the backend sent, without an envelope: its timestamp would make every request a different one.
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
