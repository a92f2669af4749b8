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
        guard let segments = request.segments, let parameters = request.parameters else {
            throw .badRequest("the path or query is not percent-encoded UTF-8")
        }
        let routes = try routes(segments, parameters)
        guard
            let route = routes.first(where: {
                $0.method == request.method || (request.method == "HEAD" && $0.method == "GET")
            })
        else {
            throw .methodNotAllowed(routes.map { $0.method == "GET" ? "GET, HEAD" : $0.method }.joined(separator: ", "))
        }
        // Probes may have any parameters.
        if segments.first == "v1" { try check(parameters, known: route.parameters) }
        let call = try route.call()
        switch call {
        case .publish: try checkText(request, accepted: ["application/json"])
        case .batch:
            try checkText(request, accepted: ["application/x-ndjson", "application/ndjson", "application/jsonl"])
        default: break
        }
        return call
    }

    /// Returns true for a request whose body is read line by line as it arrives.
    package static func isStream(_ request: HTTPRequest) -> Bool {
        request.method == "POST" && request.path == "/v1/batch"
    }

    /// Returns the key under which a publish's answer is remembered; throws if the key is not valid.
    package static func idempotencyKey(_ request: HTTPRequest) throws(HTTPProblem) -> String? {
        guard let key = request["idempotency-key"] else { return nil }
        try checkKey(key)
        return key
    }

    package static func checkKey(_ key: String) throws(HTTPProblem) {
        guard (1...255).contains(key.utf8.count) else {
            throw HTTPProblem(400, "invalid_key", "an idempotency key must have 1 to 255 bytes")
        }
    }

    /// A method that a path supports, its parameters there, and the call that it makes.
    private struct Route {
        let method: String
        /// The names of parameters, and whether each may be given several times.
        var parameters: [String: Bool] = [:]
        let call: () throws(HTTPProblem) -> APICall

        init(
            _ method: String,
            _ parameters: [String: Bool] = [:],
            _ call: @escaping () throws(HTTPProblem) -> APICall
        ) {
            self.method = method
            self.parameters = parameters
            self.call = call
        }

        init(_ method: String, _ parameters: [String: Bool] = [:], asks call: APICall) {
            self.init(method, parameters) { () throws(HTTPProblem) -> APICall in call }
        }
    }

    private typealias Parameters = [HTTPRequest.Parameter]

    /// Throws if a parameter is not known.
    ///
    /// An unknown parameter is not ignored, because it may have been meant to exclude somebody from a message.
    private static func check(_ parameters: Parameters, known: [String: Bool]) throws(HTTPProblem) {
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

    private static func routes(_ segments: [String], _ parameters: Parameters) throws(HTTPProblem) -> [Route] {
        if segments == ["healthz"] { return [get(.health)] }
        if segments == ["readyz"] { return [get(.readiness)] }
        if segments == ["metrics"] { return [get(.metrics)] }
        guard segments.first == "v1" else { throw .notFound }
        let path = Array(segments.dropFirst())
        switch path.first {
        case "users": return try user(path, parameters)
        case "threads": return try thread(path)
        case "jobs":
            guard path.count == 3 else { throw .notFound }
            try checkRoom(path[1])
            return [try publish(.sendToRoom(.job(path[1])), path[2])]
        case "connections": return try connection(path, parameters)
        case "stats": return [try statistics(path, parameters)]
        case "batch" where path.count == 1: return [Route("POST", asks: .batch)]
        case "broadcast" where path.count == 1 || path.count == 2:
            let command = Command.broadcast(excluding: values("exclude_user", parameters))
            let what = path.count == 1 ? "messages" : path[1] == "events" ? "events" : ""
            return [try publish(command, what, ["exclude_user": true])]
        case "shards":
            guard path.count == 3, path[2] == "restart", let shard = Int(path[1]) else { throw .notFound }
            return [Route("POST", asks: .restart(shard: shard))]
        case "reload" where path.count == 1: return [Route("POST", asks: .reload)]
        case "upgrade" where path.count == 1: return [Route("POST", asks: .upgrade)]
        case "stop" where path.count == 1: return [Route("POST", asks: .stop)]
        case "scale" where path.count == 1: return [Route("POST", asks: .scale)]
        case "tokens": return try tokens(path, parameters)
        default: throw .notFound
        }
    }

    private static func get(_ call: APICall) -> Route { Route("GET", asks: call) }

    /// Makes the route of `.../messages` or `.../events`.
    private static func publish(
        _ command: Command,
        _ what: String,
        _ parameters: [String: Bool] = [:]
    ) throws(HTTPProblem) -> Route {
        guard what == "messages" || what == "events" else { throw .notFound }
        return Route("POST", parameters, asks: .publish(command, isEvent: what == "events"))
    }

    private static let closingParameters = ["code": false, "reason": false]

    private static func user(_ path: [String], _ parameters: Parameters) throws(HTTPProblem) -> [Route] {
        guard path.count == 3 else { throw .notFound }
        let user = path[1]
        try checkUser(user)
        guard path[2] == "connections" else { return [try publish(.sendToUser(user), path[2])] }
        return [
            get(.command(.listConnections(user: user))),
            Route("DELETE", closingParameters) { () throws(HTTPProblem) -> APICall in
                let (code, reason) = try closing(parameters)
                return .command(.disconnectUser(user, code: code, reason: reason))
            },
        ]
    }

    private static func thread(_ path: [String]) throws(HTTPProblem) -> [Route] {
        guard path.count >= 3 else { throw .notFound }
        let thread = path[1]
        try checkRoom(thread)
        if path.count == 3 { return [try publish(.sendToRoom(.thread(thread)), path[2])] }
        guard path.count == 4, path[2] == "users" else { throw .notFound }
        let user = path[3]
        try checkUser(user)
        return [
            Route("PUT", asks: .command(.bind(user: user, thread: thread))),
            Route("DELETE", asks: .command(.unbind(user: user, thread: thread))),
        ]
    }

    /// Makes the routes that `martletctl token` and `check-token` use on the control socket; other listeners lack them.
    private static func tokens(_ path: [String], _ parameters: Parameters) throws(HTTPProblem) -> [Route] {
        if path.count == 2, path[1] == "check" {
            let token = values("token", parameters).last ?? ""
            return [Route("GET", ["token": false], asks: .command(.checkToken(token)))]
        }
        guard path.count == 1 else { throw .notFound }
        let known = ["user": false, "seconds": false, "thread": true, "job": true]
        return [
            Route("POST", known) { () throws(HTTPProblem) -> APICall in
                let user = values("user", parameters).last ?? ""
                try checkUser(user)
                let seconds = Int(values("seconds", parameters).last ?? "3600") ?? 0
                guard (1...315_360_000).contains(seconds) else {
                    throw HTTPProblem(400, "invalid_ttl", "a token may be valid for 1 second to 10 years")
                }
                let (threads, jobs) = (values("thread", parameters), values("job", parameters))
                for room in threads + jobs { try checkRoom(room) }
                guard threads.count + jobs.count <= TokenPolicy.mostRooms else {
                    throw HTTPProblem(400, "invalid_room", "a token may name at most \(TokenPolicy.mostRooms) rooms")
                }
                return .command(.makeToken(user: user, seconds: seconds, threads: threads, jobs: jobs))
            }
        ]
    }

    package static func checkRoom(_ id: String) throws(HTTPProblem) {
        if id.isEmpty || id.utf8.count > 256 {
            throw HTTPProblem(400, "invalid_room", "the id of a thread or a job must have 1 to 256 bytes")
        }
    }

    private static func connection(_ path: [String], _ parameters: Parameters) throws(HTTPProblem) -> [Route] {
        guard path.count >= 2, !path[1].isEmpty else { throw .notFound }
        let id = ConnectionID(path[1])
        if path.count == 3 { return [try publish(.sendToConnection(id), path[2])] }
        guard path.count == 2 else { throw .notFound }
        return [
            get(.command(.describe(id))),
            Route("DELETE", closingParameters) { () throws(HTTPProblem) -> APICall in
                let (code, reason) = try closing(parameters)
                return .command(.disconnectConnection(id, code: code, reason: reason))
            },
        ]
    }

    /// Returns the close code and the reason that `?code=&reason=` ask for.
    private static func closing(_ parameters: Parameters) throws(HTTPProblem) -> (UInt16, String) {
        var code = CloseReason.normal.code
        if let text = values("code", parameters).last {
            guard let number = UInt16(text), CloseReason.isAllowedFromApplication(number) else {
                throw HTTPProblem(400, "invalid_code", "code must be 1000, 1001, 1008 or 3000 to 4999")
            }
            code = number
        }
        let reason = values("reason", parameters).last ?? CloseReason(rawValue: code)?.advice ?? ""
        guard reason.utf8.count <= 123 else {
            throw HTTPProblem(400, "invalid_reason", "reason may have at most 123 bytes")
        }
        return (code, reason)
    }

    private static func statistics(_ path: [String], _ parameters: Parameters) throws(HTTPProblem) -> Route {
        switch path.count {
        case 1:
            return Route("GET", ["by_user": false]) { () throws(HTTPProblem) -> APICall in
                .node(byUser: try flag("by_user", parameters))
            }
        case 2 where path[1] == "shards": return get(.shards)
        case 3 where path[1] == "shards":
            guard let shard = Int(path[2]), shard >= 0 else { throw .notFound }
            return get(.shard(shard))
        default: throw .notFound
        }
    }

    private static func flag(_ name: String, _ parameters: Parameters) throws(HTTPProblem) -> Bool {
        switch values(name, parameters).last {
        case nil, "false": return false
        case "true": return true
        default: throw HTTPProblem(400, "invalid_parameter", "\(name) must be true or false")
        }
    }

    private static func values(_ name: String, _ parameters: Parameters) -> [String] {
        parameters.filter { $0.name == name }.map(\.value)
    }

    /// Throws unless a user id has 1 to 256 bytes.
    package static func checkUser(_ user: String) throws(HTTPProblem) {
        if user.isEmpty || user.utf8.count > 256 {
            throw HTTPProblem(400, "invalid_user", "a user id must have 1 to 256 bytes")
        }
    }

    /// Checks the headers of a body of text.
    ///
    /// The default media types of curl and of forms are accepted too, because the body itself is checked.
    private static func checkText(_ request: HTTPRequest, accepted: [String]) throws(HTTPProblem) {
        if request.contentLength == nil {
            throw HTTPProblem(411, "length_required", "send a body with a Content-Length")
        }
        let codings = request.tokens(of: "content-encoding").filter { $0.lowercased() != "identity" }
        guard codings.isEmpty else {
            let names = codings.joined(separator: ", ").prefix(64)
            let why = "the body is compressed (\(names)): send it uncompressed"
            throw HTTPProblem(415, "unsupported_content_coding", why).with("Accept-Encoding", "identity")
        }
        guard let type = request["content-type"] else { return }
        let essence = HTTPSyntax.trimmed(type.prefix { $0 != ";" }).lowercased()
        let lenient = ["", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream"]
        if !(accepted + lenient).contains(essence), !essence.hasSuffix("+json") {
            throw HTTPProblem(415, "unsupported_media_type", "send \(accepted[0])")
        }
    }
}
