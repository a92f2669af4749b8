// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

// What methods do to resources.

extension APIResource {
    /// Which methods a resource supports.
    private enum Access {
        case reading, posting
        /// A list of connections, or one of them: it can be read, and closed.
        case readingAndDeleting
        case puttingAndDeleting
    }

    private var access: Access {
        switch self {
        case .health, .readiness, .metrics, .node, .shards, .shard, .tokenCheck: .reading
        case .messages, .batch, .restart, .reload, .scale, .stop, .upgrade, .tokens: .posting
        case .connections, .connection: .readingAndDeleting
        case .binding: .puttingAndDeleting
        }
    }

    /// Returns true if the resource supports a method; HEAD counts as GET.
    func allows(_ method: HTTPMethod) -> Bool {
        switch access {
        case .reading: method == .get
        case .posting: method == .post
        case .readingAndDeleting: method == .get || method == .delete
        case .puttingAndDeleting: method == .put || method == .delete
        }
    }

    /// The methods that the resource supports, as the field `Allow` lists them.
    var allowed: String {
        switch access {
        case .reading: "GET, HEAD"
        case .posting: "POST"
        case .readingAndDeleting: "GET, HEAD, DELETE"
        case .puttingAndDeleting: "PUT, DELETE"
        }
    }

    /// The names of the parameters of a method, and whether each may be given several times; nil: probes may have any.
    func parameters(_ method: HTTPMethod) -> [String: Bool]? {
        switch self {
        case .health, .readiness, .metrics: nil
        case .messages(.broadcast, _): ["exclude_user": true]
        case .connections, .connection: method == .delete ? ["code": false, "reason": false] : [:]
        case .node: ["by_user": false]
        case .tokens: ["user": false, "seconds": false, "thread": true, "job": true]
        case .tokenCheck: ["token": false]
        default: [:]
        }
    }

    /// Makes the call; the resource supports the method, and the method has these parameters.
    func call(_ method: HTTPMethod, _ parameters: [HTTPParameter]) throws(HTTPProblem) -> APICall {
        switch self {
        case .health: return .health
        case .readiness: return .readiness
        case .metrics: return .metrics
        case .messages(.broadcast, let isEvent):
            return .publish(.broadcast(excluding: Self.values("exclude_user", parameters)), isEvent: isEvent)
        case .messages(let command, let isEvent): return .publish(command, isEvent: isEvent)
        case .connections(let user):
            guard method == .delete else { return .command(.listConnections(user: user)) }
            let (code, reason) = try Self.closing(parameters)
            return .command(.disconnectUser(user, code: code, reason: reason))
        case .connection(let id):
            guard method == .delete else { return .command(.describe(id)) }
            let (code, reason) = try Self.closing(parameters)
            return .command(.disconnectConnection(id, code: code, reason: reason))
        case .binding(let user, let thread):
            return .command(method == .put ? .bind(user: user, thread: thread) : .unbind(user: user, thread: thread))
        case .batch: return .batch
        case .node: return .node(byUser: try Self.flag("by_user", parameters))
        case .shards: return .shards
        case .shard(let number): return .shard(number)
        case .restart(let shard): return .restart(shard: shard)
        case .reload: return .reload
        case .scale: return .scale
        case .stop: return .stop
        case .upgrade: return .upgrade
        case .tokens: return .command(try Self.token(parameters))
        case .tokenCheck: return .command(.checkToken(Self.values("token", parameters).last ?? ""))
        }
    }

    /// Returns the close code and the reason that `?code=&reason=` ask for.
    private static func closing(_ parameters: [HTTPParameter]) throws(HTTPProblem) -> (UInt16, String) {
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

    /// Makes the command for a token, which `martletctl token` gives on the control socket; other listeners refuse it.
    private static func token(_ parameters: [HTTPParameter]) throws(HTTPProblem) -> Command {
        let user = values("user", parameters).last ?? ""
        try APICall.checkUser(user)
        let seconds = Int(values("seconds", parameters).last ?? "3600") ?? 0
        guard (1...315_360_000).contains(seconds) else {
            throw HTTPProblem(400, "invalid_ttl", "a token may be valid for 1 second to 10 years")
        }
        let (threads, jobs) = (values("thread", parameters), values("job", parameters))
        for room in threads + jobs { try APICall.checkRoom(room) }
        guard threads.count + jobs.count <= TokenPolicy.mostRooms else {
            throw HTTPProblem(400, "invalid_room", "a token may name at most \(TokenPolicy.mostRooms) rooms")
        }
        return .makeToken(user: user, seconds: seconds, threads: threads, jobs: jobs)
    }

    private static func flag(_ name: String, _ parameters: [HTTPParameter]) throws(HTTPProblem) -> Bool {
        switch values(name, parameters).last {
        case nil, "false": return false
        case "true": return true
        default: throw HTTPProblem(400, "invalid_parameter", "\(name) must be true or false")
        }
    }

    private static func values(_ name: String, _ parameters: [HTTPParameter]) -> [String] {
        parameters.filter { $0.name == name }.map(\.value)
    }
}
