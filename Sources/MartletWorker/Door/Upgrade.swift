internal import MartletCore
internal import MartletWire

/// What a request on the client listener is.
enum ClientRequest {
    /// An upgrade: the ticket lacks its destination and the bytes behind the head.
    case upgrade(user: String, thread: String?, service: AdoptionTicket.Service, Handshake.Accepted)
    /// Answered at once.
    case answer(HTTPResponse)
    /// The HTTP API, which the client listener serves in development, for the demo page.
    case api

    /// The user that `/echo` connections belong to: nobody can send to them, as no user id begins with a space here.
    private static let echoUser = " echo"

    init(_ request: HTTPRequest, path: String, isDevelopment: Bool) {
        do throws(HTTPProblem) {
            self = try Self.parse(request, path: path, isDevelopment: isDevelopment)
        } catch {
            self = .answer(error.response)
        }
    }

    private static func parse(
        _ request: HTTPRequest,
        path: String,
        isDevelopment: Bool
    ) throws(HTTPProblem) -> ClientRequest {
        switch request.path {
        case path: return try upgrade(request, isDevelopment)
        case "/healthz":
            guard request.method == "GET" || request.method == "HEAD" else { throw .methodNotAllowed("GET, HEAD") }
            return .answer(APIAnswer.healthy)
        case "/echo" where isDevelopment:
            try refuseForeignPages(request)
            let accepted = try Handshake.check(request)
            return .upgrade(user: echoUser, thread: nil, service: .echo, accepted)
        case "/" where isDevelopment:
            guard request.method == "GET" || request.method == "HEAD" else { throw .methodNotAllowed("GET, HEAD") }
            return .answer(demoPage)
        default:
            if isDevelopment, request.path.hasPrefix("/v1/") || request.path == "/readyz" { return .api }
            throw .notFound
        }
    }

    private static func upgrade(_ request: HTTPRequest, _ isDevelopment: Bool) throws(HTTPProblem) -> ClientRequest {
        if isDevelopment { try refuseForeignPages(request) }
        let accepted = try Handshake.check(request)
        guard request.parameters != nil else { throw .badRequest("the query is not percent-encoded UTF-8") }
        guard isDevelopment else {
            throw HTTPProblem(401, "token_missing", "this server was started without a way to check tokens")
                .with("WWW-Authenticate", "Bearer")
        }
        guard let user = request.parameter("user") else {
            throw HTTPProblem(401, "token_missing", "in development a user is named by ?user=NAME")
                .with("WWW-Authenticate", "Bearer")
        }
        try APICall.checkUser(user)
        let thread = request.parameter("thread_id")
        if let thread, thread.isEmpty || thread.utf8.count > 256 {
            throw HTTPProblem(400, "invalid_thread", "a thread id has 1 to 256 bytes")
        }
        return .upgrade(user: user, thread: thread, service: .messages, accepted)
    }

    /// In development nobody is checked, so a page of another site must not be able to use a browser on this machine to
    /// listen or to publish: pages of this machine may.
    static func refuseForeignPages(_ request: HTTPRequest) throws(HTTPProblem) {
        guard let origin = request["origin"] else { return }
        let host =
            origin.hasPrefix("http://") ? origin.dropFirst(7) : origin.hasPrefix("https://") ? origin.dropFirst(8) : ""
        guard isLoopback(host), isLoopback(request["host"].map { $0[...] } ?? "") else {
            throw HTTPProblem(
                403,
                "origin_not_allowed",
                "pages of other sites may not use a server in development mode"
            )
        }
    }

    /// `localhost`, `127.x.y.z` or `[::1]`, with or without a port.
    private static func isLoopback(_ authority: Substring) -> Bool {
        if authority == "[::1]" || authority.hasPrefix("[::1]:") { return true }
        let name = authority.prefix { $0 != ":" }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return name == "localhost" || (parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil })
    }

    private static var demoPage: HTTPResponse {
        HTTPResponse(
            200,
            fields: [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")],
            body: PackageResources.demo_html
        )
    }
}
