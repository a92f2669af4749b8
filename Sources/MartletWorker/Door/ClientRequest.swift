// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletWire

/// What a request on the client listener asks for.
enum ClientRequest {
    /// An upgrade on the path of messages; the client is still to be checked.
    case messages(Handshake.Accepted)
    /// Server-sent events, for whoever cannot upgrade; the client is still to be checked.
    case events
    /// What a client that reads server-sent events has to say.
    case post
    /// The end of such a client's session.
    case end
    /// An upgrade on `/echo`, in development.
    case echo(Handshake.Accepted)
    /// Something that is answered at once.
    case answer(HTTPResponse)
    /// The HTTP API, which the client listener serves in development, for the demo page.
    case api

    /// The user that `/echo` connections belong to: nobody can send to them, because they are in no index.
    static let echoUser = " echo"

    init(
        _ request: HTTPRequest,
        _ client: BirthContract.Client,
        eventPath: String,
        isDevelopment: Bool
    ) throws(HTTPProblem) {
        if request.hasPath(text: client.path) {
            self = .messages(
                try Handshake.check(request, allowsCompression: client.compression, needsSubprotocol: true)
            )
        } else if request.hasPath(text: eventPath) {
            self = try Self.onEvents(request)
        } else if request.hasPath("/healthz") {
            try Self.checkIsRead(request)
            self = .answer(APIAnswer.healthy)
        } else if request.hasPath("/martlet.js") {
            try Self.checkIsRead(request)
            self = .answer(ClientLibrary.answer(to: request))
        } else if !isDevelopment {
            throw .notFound
        } else if request.hasPath("/echo") {
            self = .echo(try Handshake.check(request, allowsCompression: client.compression))
        } else if request.hasPath("/") {
            try Self.checkIsRead(request)
            self = .answer(Self.demoPage)
        } else if request.hasPath(beginningWith: "/v1/") || request.hasPath("/readyz") || request.hasPath("/metrics") {
            self = .api
        } else {
            throw .notFound
        }
    }

    /// Returns what a request about server-sent events asks for.
    static func onEvents(_ request: HTTPRequest) throws(HTTPProblem) -> ClientRequest {
        switch request.method {
        case .get:
            guard request.contentLength ?? 0 == 0, !request.isChunked else {
                throw .badRequest("a request for events must not have a body")
            }
            return .events
        case .post: return .post
        case .delete: return .end
        case .options: return .answer(permission)
        default: throw .methodNotAllowed("GET, POST, DELETE, OPTIONS")
        }
    }

    /// The answer to a page of another origin that asks whether it may send our fields.
    ///
    /// Its origin was checked (CORS preflight; Fetch, section 3.2.2).
    private static let permission = HTTPResponse(
        204,
        fields: [
            .init(name: "Access-Control-Allow-Methods", value: "GET, POST, DELETE"),
            .init(
                name: "Access-Control-Allow-Headers",
                value: "authorization, content-type, martlet-resume, martlet-session"
            ),
            .init(name: "Access-Control-Max-Age", value: "600"),
        ]
    ).readableByPages

    private static func checkIsRead(_ request: HTTPRequest) throws(HTTPProblem) {
        guard request.method == .get || request.method == .head else { throw .methodNotAllowed("GET, HEAD") }
    }

    /// Throws if a page of another site sends a request in development, where nobody is checked.
    ///
    /// Otherwise such a page could use a browser on this machine to listen or to publish; pages of this machine may do
    /// that. A page whose own name was made to point to this machine (DNS rebinding) sends no foreign `Origin` when it
    /// reads, but its name is in `Host`.
    static func refuseForeignPages(_ request: HTTPRequest) throws(HTTPProblem) {
        // Nearly all requests name this machine in one of two ways, and so do their pages.
        if request.isOfThisMachine(.host), !request.has(.origin) || request.isOfThisMachine(.origin) { return }
        let authority = request[.origin].map { origin in
            ["http://", "https://"].first { origin.lowercased().hasPrefix($0) }.map { origin.dropFirst($0.count) } ?? ""
        }
        let host = request[.host] ?? "localhost"
        // No page can have a name without a dot; previous versions of the load generator use this one.
        guard authority.map(isLoopback) ?? true, isLoopback(host[...]) || host == "martlet" else {
            throw HTTPProblem(
                403,
                "origin_not_allowed",
                "a server in development mode can be used only from this machine: as localhost or 127.0.0.1"
            )
        }
    }

    /// Returns true for `localhost`, `127.x.y.z` or `[::1]`, with or without a port.
    private static func isLoopback(_ authority: Substring) -> Bool {
        if authority == "[::1]" || authority.hasPrefix("[::1]:") { return true }
        let name = authority.lowercased().prefix { $0 != ":" }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return name == "localhost" || (parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil })
    }

    private static var demoPage: HTTPResponse {
        HTTPResponse(
            200,
            .html,
            fields: [.init(name: "Cache-Control", value: "no-store")],
            body: PackageResources.demo_html
        )
    }
}

extension HTTPRequest {
    /// Returns true if a field has `127.0.0.1` or `localhost`, with or without a port, and with `http://` for pages.
    fileprivate func isOfThisMachine(_ field: HTTPField) -> Bool {
        withValue(of: field) { value in
            var start = 0
            if field == .origin {
                guard value.begins(with: "http://", at: 0..<value.count) else { return false }
                start = 7
            }
            var end = start
            while end < value.count, value[end] != UInt8(ascii: ":") { end += 1 }
            return value.has("127.0.0.1", at: start..<end) || value.has("localhost", at: start..<end)
        } ?? false
    }
}
