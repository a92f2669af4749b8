// SPDX-License-Identifier: Apache-2.0

/// The server's side of the opening handshake (RFC 6455, section 4.2).
package enum Handshake {
    /// What an accepted upgrade needs for its answer.
    package struct Accepted: Equatable, Sendable {
        /// The value of `Sec-WebSocket-Accept`.
        package let acceptValue: String
        /// The subprotocol that was chosen, if the client offered ours.
        package let subprotocol: String?
        /// The agreement on permessage-deflate; nil: there is none.
        package let deflate: DeflateExtension?

        package init(acceptValue: String, subprotocol: String?, deflate: DeflateExtension? = nil) {
            self.acceptValue = acceptValue
            self.subprotocol = subprotocol
            self.deflate = deflate
        }
    }

    /// The subprotocol of Martlet's own messages.
    package static let subprotocol = "martlet"

    /// Checks an upgrade request, and throws the refusal.
    ///
    /// `allowsCompression` accepts an offer of permessage-deflate. With `needsSubprotocol`, a client that offers
    /// subprotocols must offer ours, because a client (such as a browser) that gets none of its offers fails the
    /// connection.
    package static func check(
        _ request: HTTPRequest,
        allowsCompression: Bool = false,
        needsSubprotocol: Bool = false
    ) throws(HTTPProblem) -> Accepted {
        guard request.method == "GET" else { throw .methodNotAllowed("GET") }
        guard request.isVersion11 else { throw HTTPProblem(505, "http_version", "upgrades need HTTP/1.1") }
        guard request.upgrade == "websocket", request.has("upgrade", in: "connection") else {
            throw HTTPProblem(426, "upgrade_required", "this path speaks WebSocket: connect with ws:// or wss://")
                .with("Upgrade", "websocket").with("Connection", "Upgrade")
        }
        guard request["sec-websocket-version"] == "13" else {
            throw HTTPProblem(426, "websocket_version", "WebSocket version 13 is required")
                .with("Sec-WebSocket-Version", "13")
        }
        guard let key = request["sec-websocket-key"], Base64.isSixteenBytes(key) else {
            throw .badRequest("Sec-WebSocket-Key must be 16 bytes in base64")
        }
        guard request.contentLength ?? 0 == 0 else { throw .badRequest("an upgrade must not have a body") }
        let offered = request.tokens(of: "sec-websocket-protocol")
        if needsSubprotocol, !offered.isEmpty, !offered.contains(subprotocol) {
            throw HTTPProblem(400, "subprotocol_missing", "also offer the subprotocol 'martlet', not only bearer.TOKEN")
        }
        return Accepted(
            acceptValue: acceptValue(forKey: key),
            subprotocol: offered.contains(subprotocol) ? subprotocol : nil,
            deflate: allowsCompression ? DeflateExtension(offers: request.tokens(of: "sec-websocket-extensions")) : nil
        )
    }

    /// Makes the answer with status 101.
    package static func answer(_ accepted: Accepted) -> [UInt8] {
        var text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        text += "Sec-WebSocket-Accept: \(accepted.acceptValue)\r\n"
        if let subprotocol = accepted.subprotocol { text += "Sec-WebSocket-Protocol: \(subprotocol)\r\n" }
        if let deflate = accepted.deflate { text += "Sec-WebSocket-Extensions: \(deflate.answer)\r\n" }
        return Array((text + "\r\n").utf8)
    }

    /// Returns the base 64 of the SHA-1 of the key and a fixed text (RFC 6455, 4.2.2).
    package static func acceptValue(forKey key: String) -> String {
        Base64.encode(SHA1.digest(Array((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").utf8)))
    }
}
