// SPDX-License-Identifier: Apache-2.0

/// The agreement on permessage-deflate with one client (RFC 7692, sections 5 and 7.1).
package struct DeflateExtension: Equatable, Sendable {
    /// The window that the client has asked us to use, as a power of two, 8 to 15; nil: it has not asked for one.
    package let askedWindow: Int?

    /// Makes an agreement; `askedWindow` is 8 to 15, or nil.
    package init(askedWindow: Int? = nil) {
        self.askedWindow = askedWindow
    }

    /// Takes the first acceptable one of a client's offers (`Sec-WebSocket-Extensions`); nil if there is none.
    package init?(offers: [String]) {
        for offer in offers {
            guard let agreed = Self.agreement(offer) else { continue }
            self = agreed
            return
        }
        return nil
    }

    /// The largest window that we may compress with, as a power of two.
    package var window: Int { askedWindow ?? MessageDeflate.largestWindow }

    /// The value of `Sec-WebSocket-Extensions` in the answer.
    ///
    /// If the client asked for a window, the answer must contain it (RFC 7692, 7.1.2.1).
    package var answer: String {
        let answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        return askedWindow.map { "\(answer); server_max_window_bits=\($0)" } ?? answer
    }

    private static func agreement(_ offer: String) -> DeflateExtension? {
        let parts = offer.split(separator: ";").map { HTTPSyntax.trimmed($0) }
        guard parts.first?.lowercased() == "permessage-deflate" else { return nil }
        var seen: Set<String> = []
        var askedWindow: Int?
        for part in parts.dropFirst() {
            let pieces = part.split(separator: "=", maxSplits: 1).map { HTTPSyntax.trimmed($0) }
            let name = pieces.first?.lowercased() ?? ""
            let value = pieces.count > 1 ? unquoted(pieces[1]) : nil
            guard seen.insert(name).inserted else { return nil }
            switch name {
            case "server_no_context_takeover", "client_no_context_takeover":
                if value != nil { return nil }
            case "client_max_window_bits":
                // We expand with the largest window, whatever the client uses.
                if let value, window(value) == nil { return nil }
            case "server_max_window_bits":
                guard let value, let window = window(value) else { return nil }
                askedWindow = window
            default: return nil
            }
        }
        return DeflateExtension(askedWindow: askedWindow)
    }

    /// Reads a window, which is 8 to 15, without leading zeros (RFC 7692, 7.1.2.1).
    private static func window(_ value: String) -> Int? {
        guard let window = Int(value), (8...15).contains(window), value == String(window) else { return nil }
        return window
    }

    private static func unquoted(_ value: String) -> String {
        value.count >= 2 && value.hasPrefix("\"") && value.hasSuffix("\"")
            ? String(value.dropFirst().dropLast()) : value
    }
}
