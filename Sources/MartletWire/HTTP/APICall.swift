// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// What a request to the HTTP API asks for.
package enum APICall: Equatable, Sendable {
    case command(Command)
    /// A message, or, if `isEvent`, an event that still needs its envelope.
    case publish(Command, isEvent: Bool)
    /// `POST /v1/batch`
    case batch
    /// `GET /metrics`
    case metrics
    /// `GET /v1/stats`
    case node(byUser: Bool)
    /// `GET /v1/stats/shards`
    case shards
    /// `GET /v1/stats/shards/{n}`
    case shard(Int)
    /// `GET /healthz`
    case health
    /// `GET /readyz`
    case readiness
    /// `POST /v1/shards/{n}/restart`, on the control socket only.
    case restart(shard: Int)
    /// `POST /v1/reload`, on the control socket only.
    case reload
    /// `POST /v1/scale`, on the control socket only.
    case scale
    /// `POST /v1/stop`, on the control socket only.
    case stop
    /// `POST /v1/upgrade`, on the control socket only.
    case upgrade

    /// Reads the head of a request; throws the answer if it is not a call that we know.
    package static func parse(_ request: HTTPRequest) throws(HTTPProblem) -> APICall {
        guard let parameters = request.parameters else { throw .badEncoding }
        let resource = try APIResource(request)
        let method = request.method == .head ? .get : request.method
        guard resource.allows(method) else { throw .methodNotAllowed(resource.allowed) }
        if !parameters.isEmpty, let known = resource.parameters(method) { try check(parameters, known: known) }
        let call = try resource.call(method, parameters)
        switch call {
        case .publish: try checkText(request, accepted: jsonTypes)
        case .batch: try checkText(request, accepted: lineTypes)
        default: break
        }
        return call
    }

    /// Throws if a parameter is not known.
    ///
    /// An unknown parameter is not ignored, because it may have been meant to exclude somebody from a message.
    private static func check(_ parameters: [HTTPParameter], known: [String: Bool]) throws(HTTPProblem) {
        var seen: Set<String> = []
        for name in parameters.map(\.name) {
            guard let mayRepeat = known[name] else {
                let names = known.keys.sorted().joined(separator: ", ")
                let what = known.isEmpty ? "it has none" : "it has: \(names)"
                throw HTTPProblem(
                    400,
                    "unknown_parameter",
                    "this call has no parameter '\(name.prefix(64))'; \(what)"
                )
            }
            if !seen.insert(name).inserted, !mayRepeat {
                throw HTTPProblem(400, "repeated_parameter", "give \(name) only once")
            }
        }
    }

    /// Returns true for a request whose body is read line by line as it arrives.
    package static func isStream(_ request: HTTPRequest) -> Bool {
        request.method == .post && request.hasPath("/v1/batch")
    }

    /// Returns the key under which a publish's answer is remembered; throws if the key is not valid.
    package static func idempotencyKey(_ request: HTTPRequest) throws(HTTPProblem) -> String? {
        guard let key = request[.idempotencyKey] else { return nil }
        try checkKey(key)
        return key
    }

    package static func checkKey(_ key: String) throws(HTTPProblem) {
        guard (1...255).contains(key.utf8.count) else {
            throw HTTPProblem(400, "invalid_key", "an idempotency key must have 1 to 255 bytes")
        }
    }

    package static func checkRoom(_ id: String) throws(HTTPProblem) {
        if id.isEmpty || id.utf8.count > 256 {
            throw HTTPProblem(400, "invalid_room", "the id of a thread or a job must have 1 to 256 bytes")
        }
    }

    /// Throws unless a user id has 1 to 256 bytes.
    package static func checkUser(_ user: String) throws(HTTPProblem) {
        if user.isEmpty || user.utf8.count > 256 {
            throw HTTPProblem(400, "invalid_user", "a user id must have 1 to 256 bytes")
        }
    }

    private static let jsonTypes: [StaticString] = ["application/json"]
    private static let lineTypes: [StaticString] = ["application/x-ndjson", "application/ndjson", "application/jsonl"]

    /// Checks the headers of a body of text.
    ///
    /// The default media types of curl and of forms are accepted too, because the body itself is checked.
    private static func checkText(_ request: HTTPRequest, accepted: [StaticString]) throws(HTTPProblem) {
        if request.contentLength == nil, !request.isChunked {
            throw HTTPProblem(411, "length_required", "send a body, with a Content-Length or in chunks")
        }
        if request.has(.contentEncoding), !request.hasOnly("identity", in: .contentEncoding) {
            let codings = request.tokens(of: .contentEncoding).filter { $0.lowercased() != "identity" }
            let names = codings.joined(separator: ", ").prefix(64)
            let why = "the body is compressed (\(names)): send it uncompressed"
            if !codings.isEmpty {
                throw HTTPProblem(415, "unsupported_content_coding", why).with("Accept-Encoding", "identity")
            }
        }
        // Nearly all requests have one of these.
        if accepted.contains(where: { request.has(anyCaseOf: $0, in: .contentType) }) { return }
        guard let type = request[.contentType] else { return }
        let essence = HTTPSyntax.trimmed(type.prefix { $0 != ";" }).lowercased()
        let lenient = ["", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream"]
        if !(accepted.map { "\($0)" } + lenient).contains(essence), !essence.hasSuffix("+json") {
            throw HTTPProblem(415, "unsupported_media_type", "send \(accepted[0])")
        }
    }
}
