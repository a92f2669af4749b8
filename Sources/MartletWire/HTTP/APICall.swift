package import MartletCore

/// What a request of the HTTP API asks for: the table of its paths.
package enum APICall: Equatable, Sendable {
    case command(Command)
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

    /// Reads a request; throws the answer where it is none of ours.
    ///
    /// * `request`: the head.
    /// * `hasBody`: whether a body came with it.
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
        let call = try route.call()
        if case .command(let command) = call, command.carriesText { try checkText(request) }
        return call
    }

    /// A method that a path knows, and what it asks for there.
    private typealias Route = (method: String, call: () throws(HTTPProblem) -> APICall)
    private typealias Parameters = [(name: String, value: String)]

    private static func routes(_ segments: [String], _ parameters: Parameters) throws(HTTPProblem) -> [Route] {
        if segments == ["healthz"] { return [get(.health)] }
        if segments == ["readyz"] { return [get(.readiness)] }
        guard segments.first == "v1" else { throw .notFound }
        let path = Array(segments.dropFirst())
        switch path.first {
        case "users": return try user(path, parameters)
        case "connections": return try connection(path, parameters)
        case "stats": return [try statistics(path, parameters)]
        case "broadcast" where path.count == 1:
            return [post(.broadcast(excluding: values("exclude_user", parameters)))]
        default: throw .notFound
        }
    }

    private static func get(_ call: APICall) -> Route {
        ("GET", { () throws(HTTPProblem) -> APICall in call })
    }

    private static func post(_ command: Command) -> Route {
        ("POST", { () throws(HTTPProblem) -> APICall in .command(command) })
    }

    private static func user(_ path: [String], _ parameters: Parameters) throws(HTTPProblem) -> [Route] {
        guard path.count == 3 else { throw .notFound }
        let user = path[1]
        try checkUser(user)
        switch path[2] {
        case "messages": return [post(.sendToUser(user))]
        case "connections":
            return [
                get(.command(.listConnections(user: user))),
                (
                    "DELETE",
                    { () throws(HTTPProblem) -> APICall in
                        let (code, reason) = try closing(parameters)
                        return .command(.disconnectUser(user, code: code, reason: reason))
                    }
                ),
            ]
        default: throw .notFound
        }
    }

    private static func connection(_ path: [String], _ parameters: Parameters) throws(HTTPProblem) -> [Route] {
        guard path.count >= 2, !path[1].isEmpty else { throw .notFound }
        let id = ConnectionID(path[1])
        if path.count == 3, path[2] == "messages" { return [post(.sendToConnection(id))] }
        guard path.count == 2 else { throw .notFound }
        return [
            get(.command(.describe(id))),
            (
                "DELETE",
                { () throws(HTTPProblem) -> APICall in
                    let (code, reason) = try closing(parameters)
                    return .command(.disconnectConnection(id, code: code, reason: reason))
                }
            ),
        ]
    }

    /// The close code and reason that `?code=&reason=` ask for.
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
            throw HTTPProblem(400, "invalid_reason", "reason may have 123 bytes")
        }
        return (code, reason)
    }

    private static func statistics(_ path: [String], _ parameters: Parameters) throws(HTTPProblem) -> Route {
        switch path.count {
        case 1: return get(.node(byUser: values("by_user", parameters).last == "true"))
        case 2 where path[1] == "shards": return get(.shards)
        case 3 where path[1] == "shards":
            guard let shard = Int(path[2]), shard >= 0 else { throw .notFound }
            return get(.shard(shard))
        default: throw .notFound
        }
    }

    private static func values(_ name: String, _ parameters: Parameters) -> [String] {
        parameters.filter { $0.name == name }.map(\.value)
    }

    /// User ids are 1 to 256 bytes of text.
    package static func checkUser(_ user: String) throws(HTTPProblem) {
        if user.isEmpty || user.utf8.count > 256 {
            throw HTTPProblem(400, "invalid_user", "a user id has 1 to 256 bytes")
        }
    }

    private static func checkText(_ request: HTTPRequest) throws(HTTPProblem) {
        if request.contentLength == nil {
            throw HTTPProblem(411, "length_required", "send a body with a Content-Length")
        }
        guard let type = request["content-type"] else { return }
        let essence = HTTPSyntax.trimmed(type.prefix { $0 != ";" }).lowercased()
        // What curl and forms say by default is taken as JSON too: the body decides.
        let accepted = ["", "application/json", "text/plain", "application/x-www-form-urlencoded"]
        if !accepted.contains(essence), !essence.hasSuffix("+json") {
            throw HTTPProblem(415, "unsupported_media_type", "send application/json")
        }
    }
}
