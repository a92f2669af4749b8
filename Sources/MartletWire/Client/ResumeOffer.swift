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
    package static let prefix = "resume."

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
        guard request.has(.webSocketProtocol),
            let text = request.tokens(of: .webSocketProtocol).first(where: { $0.hasPrefix(Self.prefix) })
        else { return nil }
        guard
            let offer = Self(
                words: text.dropFirst(Self.prefix.count).split(separator: ".", omittingEmptySubsequences: false)
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
        guard words.count == 2, let token = SessionToken(words[0]), (1...10).contains(words[1].utf8.count),
            words[1].utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let received = UInt32(words[1])
        else { return nil }
        self = .resume(token, received: received)
    }
}
