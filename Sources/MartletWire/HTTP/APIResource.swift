// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// What a path of the HTTP API stands for, whatever the method.
enum APIResource {
    case health, readiness, metrics
    /// Where messages for an address are posted, or events.
    case messages(Command, isEvent: Bool)
    case connections(user: String)
    case connection(ConnectionID)
    case binding(user: String, thread: String)
    case batch
    case node, shards
    case shard(Int)
    case restart(shard: Int)
    case reload, scale, stop, upgrade
    case tokens, tokenCheck

    /// Finds the resource at a path; throws the answer if there is none, or an id in the path is not valid.
    init(_ request: HTTPRequest) throws(HTTPProblem) {
        self = try Self.find(PathSegments(request))
    }

    private static func find(_ path: PathSegments) throws(HTTPProblem) -> APIResource {
        guard path.count > 1 else {
            if path.has("healthz", at: 0) { return .health }
            if path.has("readyz", at: 0) { return .readiness }
            if path.has("metrics", at: 0) { return .metrics }
            throw .notFound
        }
        guard path.has("v1", at: 0) else { throw .notFound }
        if path.has("users", at: 1) { return try user(path) }
        if path.has("threads", at: 1) { return try thread(path) }
        if path.has("jobs", at: 1) { return try job(path) }
        if path.has("connections", at: 1) { return try connection(path) }
        if path.has("broadcast", at: 1) { return try broadcast(path) }
        if path.has("stats", at: 1) { return try statistics(path) }
        return try order(path)
    }

    private static func user(_ path: PathSegments) throws(HTTPProblem) -> APIResource {
        guard path.count == 4 else { throw .notFound }
        let user = try path.text(2)
        try APICall.checkUser(user)
        if path.has("connections", at: 3) { return .connections(user: user) }
        return try messages(.sendToUser(user), path)
    }

    private static func thread(_ path: PathSegments) throws(HTTPProblem) -> APIResource {
        guard path.count >= 4 else { throw .notFound }
        let thread = try path.text(2)
        try APICall.checkRoom(thread)
        if path.count == 4 { return try messages(.sendToRoom(.thread(thread)), path) }
        guard path.count == 5, path.has("users", at: 3) else { throw .notFound }
        let user = try path.text(4)
        try APICall.checkUser(user)
        return .binding(user: user, thread: thread)
    }

    private static func job(_ path: PathSegments) throws(HTTPProblem) -> APIResource {
        guard path.count == 4 else { throw .notFound }
        let job = try path.text(2)
        try APICall.checkRoom(job)
        return try messages(.sendToRoom(.job(job)), path)
    }

    private static func connection(_ path: PathSegments) throws(HTTPProblem) -> APIResource {
        guard path.count == 3 || path.count == 4 else { throw .notFound }
        let id = try path.text(2)
        guard !id.isEmpty else { throw .notFound }
        return path.count == 3 ? .connection(ConnectionID(id)) : try messages(.sendToConnection(ConnectionID(id)), path)
    }

    /// Who is excluded is in the query.
    private static func broadcast(_ path: PathSegments) throws(HTTPProblem) -> APIResource {
        if path.count == 2 { return .messages(.broadcast(excluding: []), isEvent: false) }
        guard path.count == 3, path.has("events", at: 2) else { throw .notFound }
        return .messages(.broadcast(excluding: []), isEvent: true)
    }

    private static func messages(_ command: Command, _ path: PathSegments) throws(HTTPProblem) -> APIResource {
        if path.has("messages", at: 3) { return .messages(command, isEvent: false) }
        guard path.has("events", at: 3) else { throw .notFound }
        return .messages(command, isEvent: true)
    }

    private static func statistics(_ path: PathSegments) throws(HTTPProblem) -> APIResource {
        if path.count == 2 { return .node }
        guard path.count <= 4, path.has("shards", at: 2) else { throw .notFound }
        if path.count == 3 { return .shards }
        guard let shard = Int(try path.text(3)), shard >= 0 else { throw .notFound }
        return .shard(shard)
    }

    /// Finds what is served on the control socket only, and batches.
    private static func order(_ path: PathSegments) throws(HTTPProblem) -> APIResource {
        switch path.count {
        case 2 where path.has("batch", at: 1): return .batch
        case 2 where path.has("reload", at: 1): return .reload
        case 2 where path.has("upgrade", at: 1): return .upgrade
        case 2 where path.has("stop", at: 1): return .stop
        case 2 where path.has("scale", at: 1): return .scale
        case 2 where path.has("tokens", at: 1): return .tokens
        case 3 where path.has("tokens", at: 1) && path.has("check", at: 2): return .tokenCheck
        case 4 where path.has("shards", at: 1) && path.has("restart", at: 3):
            guard let shard = Int(try path.text(2)) else { throw .notFound }
            return .restart(shard: shard)
        default: throw .notFound
        }
    }
}
