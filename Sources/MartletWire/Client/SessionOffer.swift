// SPDX-License-Identifier: Apache-2.0

/// Which session a client posts to that reads server-sent events, and the number of the first message that it posts.
///
/// It comes in the header field `Martlet-Session`, as `TOKEN N`.
package struct SessionOffer: Equatable, Sendable {
    package let token: SessionToken
    package let first: UInt32

    /// Reads what a request offers, or throws what is wrong with it.
    package init(_ request: HTTPRequest) throws(HTTPProblem) {
        let words = request[.martletSession]?.split(separator: " ", omittingEmptySubsequences: false) ?? []
        guard words.count == 2, let token = SessionToken(words[0]), let first = UInt32(decimal: words[1]) else {
            throw .badRequest("Martlet-Session must be the session's token and the number of the first message")
        }
        self.token = token
        self.first = first
    }
}

extension UInt32 {
    /// Reads a number of at most ten digits, and nothing else.
    init?(decimal text: Substring) {
        guard (1...10).contains(text.utf8.count),
            text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
        else { return nil }
        self.init(text)
    }
}
