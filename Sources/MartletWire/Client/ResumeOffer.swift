// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// What a client that wants a session asks for when it connects: a new one, or to go on with one that it had.
///
/// It comes as a subprotocol, `resume.new` or `resume.TOKEN.N`, or in the header field `Martlet-Resume`, as `new` or
/// `TOKEN N`; never in a URL, which proxies write to their logs. N is how many messages of the session the client has
/// received.
package enum ResumeOffer: Equatable, Sendable {
    case new
    case resume(SessionToken, received: UInt32)

    /// What begins the subprotocol.
    private static let prefix: StaticString = "resume."

    /// Finds out what a request asks for; nil: no session.
    ///
    /// Throws if it makes no sense.
    package init?(_ request: HTTPRequest) throws(HTTPProblem) {
        if request.has(.martletResume), let value = request[.martletResume] {
            guard let offer = Self(words: value.split(separator: " ", omittingEmptySubsequences: false)) else {
                throw .badRequest("Martlet-Resume must be `new`, or a token and the number of messages received")
            }
            self = offer
            return
        }
        guard request.mayOffer(Self.prefix),
            let text = request.tokens(of: .webSocketProtocol).first(where: { $0.hasPrefix("\(Self.prefix)") })
        else { return nil }
        guard
            let offer = Self(
                words: text.dropFirst(Self.prefix.utf8CodeUnitCount).split(
                    separator: ".",
                    omittingEmptySubsequences: false
                )
            )
        else {
            throw .badRequest("the subprotocol must be resume.new or resume.TOKEN.N, N being the messages received")
        }
        self = offer
    }

    private init?(words: [Substring]) {
        if words == ["new"] {
            self = .new
            return
        }
        guard words.count == 2, let token = SessionToken(words[0]), let received = UInt32(decimal: words[1]) else {
            return nil
        }
        self = .resume(token, received: received)
    }
}

extension HTTPRequest {
    /// Returns false if no subprotocol begins with this text: then it is not worth taking them apart.
    fileprivate func mayOffer(_ text: StaticString) -> Bool {
        withValue(of: .webSocketProtocol) { value in
            (0..<value.count).contains {
                value[$0] == UInt8(ascii: "r") && value.begins(with: text, at: $0..<value.count)
            }
        } ?? has(.webSocketProtocol)
    }
}
