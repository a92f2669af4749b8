// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// A refusal: a status, a stable code for programs, and a sentence for people (RFC 9457).
package struct HTTPProblem: Error, Equatable, Sendable {
    package let status: Int
    package let code: String
    package let detail: String
    /// Further members of the body: numbers only.
    package var members: [Member] = []
    package var fields: [HTTPResponse.Field] = []
    /// Whether the connection cannot be used any more, because it is not clear where the next request begins.
    package var closes = false

    /// Limits at which clients are refused, by the code of the problem; each is counted apart.
    package enum Limit: String, Sendable {
        case handshakes = "too_many_handshakes"
        case badTokens = "too_many_bad_tokens"
        case connectionsOfUser = "too_many_connections_of_user"
        case connectionsOfAddress = "too_many_connections_of_address"
        case connections = "full"
    }

    /// The limit that was reached; nil: the problem is another one.
    package private(set) var limit: Limit?

    package struct Member: Equatable, Sendable {
        package let name: String
        package let value: Int
    }

    package init(_ status: Int, _ code: String, _ detail: String) {
        self.status = status
        self.code = code
        self.detail = detail
    }

    package init(_ status: Int, at limit: Limit, _ detail: String) {
        self.init(status, limit.rawValue, detail)
        self.limit = limit
    }

    package static func badRequest(_ detail: String) -> HTTPProblem { HTTPProblem(400, "malformed", detail) }

    package static let headTooLarge = HTTPProblem(431, "head_too_large", "the request's head is larger than 16 KiB")

    package static func tooManyFields(limit: Int) -> HTTPProblem {
        HTTPProblem(431, "too_many_fields", "the request has more than \(limit) header fields")
    }

    package static let notFound = HTTPProblem(404, "not_found", "nothing is served at this path")

    package static func methodNotAllowed(_ allowed: String) -> HTTPProblem {
        HTTPProblem(405, "method_not_allowed", "use \(allowed)").with("Allow", allowed)
    }

    package static func bodyTooLarge(limit: Int) -> HTTPProblem {
        var problem = HTTPProblem(413, "body_too_large", "the body may have at most \(limit) bytes")
        problem.members = [.init(name: "limit", value: limit)]
        problem.closes = true
        return problem
    }

    /// The code of the close frame by which a client learns of this that was let in only to be told; nil: it is not let
    /// in, because it is no client that could be told, or there would be too many of them.
    package var closeCode: UInt16? {
        switch (status, limit) {
        case (_, .handshakes): nil
        case (401, _): CloseReason.tokenExpired.code
        case (403, _): CloseReason.forbidden.code
        case (429, _): CloseReason.tooManyMessages.code
        case (503, _): CloseReason.tryAgainLater.code
        default: nil
        }
    }

    /// Returns the same problem with one more header field.
    package func with(_ name: String, _ value: String) -> HTTPProblem {
        var problem = self
        problem.fields.append(.init(name: name, value: value))
        return problem
    }

    /// The same problem, which pages of other origins may read, too.
    package var readableByPages: HTTPProblem {
        var problem = self
        problem.fields += Self.fieldsForPages
        return problem
    }

    /// What lets pages of other origins read an answer, and when they may try again.
    static let fieldsForPages: [HTTPResponse.Field] = [
        .init(name: "Access-Control-Allow-Origin", value: "*"),
        .init(name: "Access-Control-Expose-Headers", value: "Retry-After"),
    ]

    /// The body of the response: one JSON object.
    package var json: [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("type", "about:blank")
        json.member("title", HTTPResponse.phrase(status))
        json.member("status", status)
        json.member("code", code)
        json.member("detail", detail)
        for member in members { json.member(member.name, member.value) }
        json.endObject()
        return json.bytes
    }

    package var response: HTTPResponse {
        var response = HTTPResponse(status, .problem, fields: fields, body: json)
        response.closes = closes
        return response
    }
}
