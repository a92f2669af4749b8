// SPDX-License-Identifier: Apache-2.0

/// The server's side of the opening handshake (RFC 6455, section 4.2).
package enum Handshake {
    /// What an accepted upgrade needs for its answer.
    package struct Accepted: Equatable, Sendable {
        /// The value of `Sec-WebSocket-Accept`.
        package let acceptValue: AcceptValue
        /// The subprotocol that was chosen, if the client offered ours.
        package let subprotocol: String?
        /// The agreement on permessage-deflate; nil: there is none.
        package var deflate: DeflateExtension?

        package init(acceptValue: AcceptValue, subprotocol: String?, deflate: DeflateExtension? = nil) {
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
        guard request.method == .get else { throw .methodNotAllowed("GET") }
        guard request.isVersion11 else { throw HTTPProblem(505, "http_version", "upgrades need HTTP/1.1") }
        guard request.hasOnly("websocket", in: .upgrade), request.has("upgrade", in: .connection) else {
            throw HTTPProblem(426, "upgrade_required", "this path speaks WebSocket: connect with ws:// or wss://")
                .with("Upgrade", "websocket").with("Connection", "Upgrade")
        }
        guard request.has(anyCaseOf: "13", in: .webSocketVersion) else {
            throw HTTPProblem(426, "websocket_version", "WebSocket version 13 is required")
                .with("Sec-WebSocket-Version", "13")
        }
        let value = request.withValue(of: .webSocketKey) { Base64.isSixteenBytes($0) ? AcceptValue(forKey: $0) : nil }
        guard let acceptValue = value ?? nil else {
            throw .badRequest("Sec-WebSocket-Key must be 16 bytes in base64")
        }
        guard request.contentLength ?? 0 == 0, !request.isChunked else {
            throw .badRequest("an upgrade must not have a body")
        }
        let offersOurs = request.has(member: subprotocol, in: .webSocketProtocol)
        if needsSubprotocol, !offersOurs, !request.tokens(of: .webSocketProtocol).isEmpty {
            throw HTTPProblem(400, "subprotocol_missing", "also offer the subprotocol 'martlet', not only bearer.TOKEN")
        }
        return Accepted(
            acceptValue: acceptValue,
            subprotocol: offersOurs ? subprotocol : nil,
            deflate: allowsCompression && request.has(.webSocketExtensions)
                ? DeflateExtension(offers: request.tokens(of: .webSocketExtensions)) : nil
        )
    }

    /// Appends the answer with status 101.
    package static func write(_ accepted: Accepted, to output: inout [UInt8]) {
        output.append("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
        output.append("Sec-WebSocket-Accept: ")
        accepted.acceptValue.write(to: &output)
        output.append("\r\n")
        if let subprotocol = accepted.subprotocol {
            output.append("Sec-WebSocket-Protocol: ")
            output.append(contentsOf: subprotocol.utf8)
            output.append("\r\n")
        }
        if let deflate = accepted.deflate {
            output.append("Sec-WebSocket-Extensions: ")
            output.append(contentsOf: deflate.answer.utf8)
            output.append("\r\n")
        }
        output.append("\r\n")
    }
}
