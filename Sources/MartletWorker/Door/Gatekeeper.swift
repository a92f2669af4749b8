// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// Decides who may connect: clients by token, origin and rate, backends by key or by user.
///
/// Cheap checks come first, so that a refusal never costs more than an acceptance.
final class Gatekeeper {
    private let contract: BirthContract
    private let policy: TokenPolicy
    private let origins: OriginPolicy
    private let handshakes: RateLimit?
    private let proxies: [NetworkRange]
    private let board: NodeBoard
    private let apiKeys: [[UInt8]]
    /// The path of server-sent events, beside that of the WebSockets.
    let eventPath: String
    /// The code of the refusal of a page's origin.
    static let foreignOrigin = "origin_not_allowed"
    /// The counts of bad tokens of each address.
    private let badTokens: BadTokens?
    /// The keys for tokens, which are set once they are read.
    var keys = KeyRing()

    init(_ contract: BirthContract, board: NodeBoard) {
        self.contract = contract
        self.board = board
        let secrets = contract.auth
        policy = TokenPolicy(
            issuer: secrets.issuer,
            audience: secrets.audience,
            leeway: Double(secrets.leewayMilliseconds) / 1000
        )
        origins = OriginPolicy(allowed: contract.client.allowedOrigins)
        let rate = Int(contract.limits.handshakesPerSecond)
        // As many as in a tenth of a second may come at once, but at least as many as one page with its frames opens.
        handshakes = RateLimit(perSecond: rate, burst: max(50, rate / 10))
        let badTokens = Int(contract.limits.badTokensPerSecond)
        self.badTokens = RateLimit(perSecond: badTokens, burst: max(20, badTokens)).map { BadTokens($0) }
        proxies = contract.client.trustedProxies.compactMap { NetworkRange($0) }
        apiKeys = secrets.apiKeys
        eventPath = EventStream.path(beside: contract.client.path)
    }

    // MARK: Clients

    /// Counts one more handshake of a known user, and throws if that exceeds the rate of the whole node.
    ///
    /// This is called last, so that unknown clients use up nothing of the rate. The clock is read again, because other
    /// workers have counted since this turn began.
    func admitHandshake() throws(HTTPProblem) {
        guard let handshakes, !board.admitHandshake(handshakes, now: Clock.monotonicNanoseconds()) else { return }
        throw HTTPProblem(429, at: .handshakes, "the server opens no more connections this second")
            .with("Retry-After", "1")
    }

    /// Finds out who asks for an upgrade, or throws the refusal.
    ///
    /// An address whose tokens are refused again and again has to wait before its next token is checked.
    func bearer(of request: HTTPRequest, from caller: Caller) throws(HTTPProblem) -> Bearer {
        guard let parameters = request.parameters else {
            throw .badRequest("the query is not percent-encoded UTF-8")
        }
        let token = try self.token(of: request, parameters)
        if !parameters.isEmpty {
            try parameters.checkSingle(["thread_id", "job_id"] + (contract.isDevelopment ? ["user"] : []))
        }
        var bearer: Bearer
        if let token {
            let address = guesserNumber(of: caller)
            try admitToken(from: address)
            do throws(TokenProblem) {
                bearer = try self.bearer(ofToken: token)
            } catch {
                countGuess(from: address)
                throw Self.unauthorized(error)
            }
        } else if contract.isDevelopment, let user = parameters.value(of: "user") {
            try APICall.checkUser(user)
            bearer = Bearer(user: user)
        } else {
            throw Self.unauthorized(.missing)
        }
        try addRooms(parameters, to: &bearer)
        return bearer
    }

    /// Finds out who the bearer of a token is; also for renewals.
    func bearer(ofToken token: String) throws(TokenProblem) -> Bearer {
        let claims = try claims(of: token)
        var bearer = Bearer(user: claims.subject ?? "")
        bearer.threads = claims.threads ?? []
        bearer.jobs = claims.jobs ?? []
        bearer.metadata = claims.metadata
        bearer.expiresAt = Int64(min(max(claims.expiresAt ?? 0, 0), Double(Self.latestExpiry / 1000)) * 1000)
        return bearer
    }

    /// The latest time at which a token may expire, in Unix milliseconds: the last second that can be formatted.
    static let latestExpiry = Timestamp.latest / 1000 * 1000

    /// Returns what a token says, if it is signed with our keys and valid now.
    func claims(of token: String) throws(TokenProblem) -> TokenClaims {
        let text = try TokenText(token)
        try keys.check(text)
        let claims = try text.claims()
        try policy.check(claims, now: Double(Clock.unixMilliseconds()) / 1000)
        return claims
    }

    /// How long a connection outlives its token, in milliseconds, because clocks may differ.
    var leewayMilliseconds: Int64 { Int64(contract.auth.leewayMilliseconds) }

    /// Makes a new token, with the issuer and the audience that we accept.
    func makeToken(user: String, seconds: Int, threads: [String], jobs: [String]) -> String? {
        var claims = TokenClaims()
        claims.subject = user
        claims.issuer = policy.issuer
        claims.audiences = [policy.audience].compactMap { $0 }
        claims.expiresAt = Double(Clock.unixMilliseconds() / 1000 + Int64(seconds))
        claims.threads = threads
        claims.jobs = jobs
        return keys.sign(claims)
    }

    /// Returns true if a connection may join a room by itself.
    func mayJoin(_ room: Room, _ bearer: Bearer) -> Bool {
        if contract.auth.anyRoom || contract.isDevelopment { return true }
        return (room.kind == .thread ? bearer.threads : bearer.jobs).contains { $0.isExactly(room.id) }
    }

    /// Returns the number by which bad tokens and sessions of an address are counted; 0: nobody knows whose it is.
    func guesserNumber(of caller: Caller) -> UInt64 { number(of: caller.isSure ? caller.address : nil) }

    /// Counts a guess: a token, or a session, that is none.
    func countGuess(from address: UInt64) { badTokens?.count(address) }

    private func admitToken(from address: UInt64) throws(HTTPProblem) {
        guard let badTokens, !badTokens.admits(address) else { return }
        throw HTTPProblem(429, at: .badTokens, "this address has sent too many invalid tokens")
            .with("Retry-After", "1")
    }

    /// Where a client comes from.
    struct Caller {
        let address: NetworkAddress?
        /// False if the address may be that of an unconfigured proxy, behind which all clients would look like one.
        ///
        /// That is the case for this machine itself, and for a request with `X-Forwarded-For`.
        let isSure: Bool
    }

    /// Finds out where a client comes from.
    ///
    /// `peer` is the address of the socket's other end; nil: it has none, because it is a Unix socket.
    func caller(of request: HTTPRequest, from peer: NetworkAddress?) -> Caller {
        guard let peer else { return Caller(address: nil, isSure: false) }
        guard let forwarded = request[.forwardedFor] else {
            return Caller(address: peer, isSure: !peer.isLoopback && !isProxy(peer))
        }
        guard isProxy(peer) else { return Caller(address: peer, isSure: false) }
        // The last address that is not one of our proxies is the nearest one that can be trusted.
        var address = peer
        for entry in forwarded.split(separator: ",").reversed() {
            guard let next = Self.address(HTTPSyntax.trimmed(entry)) else { break }
            address = next
            if !isProxy(next) { break }
        }
        return Caller(address: address, isSure: !address.isLoopback && !isProxy(address))
    }

    /// Returns a number for the address that a client came from, or 0 if addresses are not counted.
    ///
    /// The number is keyed, so that nobody can choose an address that has the same number as another one.
    func countedNumber(of caller: Caller) -> UInt64 {
        contract.limits.connectionsPerAddress > 0 ? number(of: caller.address) : 0
    }

    /// Returns where a client says that it comes from.
    func origin(of caller: Caller, _ request: HTTPRequest) -> ClientOrigin {
        ClientOrigin(address: caller.address?.text ?? "", agent: request[.userAgent] ?? "")
    }

    private func number(of address: NetworkAddress?) -> UInt64 {
        guard let address else { return 0 }
        // For IPv6 the network counts, because a client can use any address in it.
        let low = address.isIPv4 ? address.low : 0
        let number = Self.mixed(Self.mixed(address.high ^ contract.addressKey) ^ low ^ contract.addressKey)
        return number == 0 ? 1 : number
    }

    /// Reads an address as proxies write it: alone, as `192.0.2.1:5123`, or as `[2001:db8::1]:5123`.
    private static func address(_ text: String) -> NetworkAddress? {
        if let address = NetworkAddress(text) { return address }
        if text.hasPrefix("[") { return NetworkAddress(String(text.dropFirst().prefix { $0 != "]" })) }
        return NetworkAddress(String(text.prefix { $0 != ":" }))
    }

    /// Throws if a page of this origin may not connect.
    func checkOrigin(_ request: HTTPRequest) throws(HTTPProblem) {
        // In development this is checked for every request.
        if contract.isDevelopment { return }
        guard origins.allows(request[.origin], host: request[.host]) else {
            throw HTTPProblem(403, Self.foreignOrigin, "pages of this origin may not connect: client.allowed_origins")
        }
    }

    private func token(of request: HTTPRequest, _ parameters: [HTTPParameter]) throws(HTTPProblem) -> String? {
        // Another scheme, from a site with its own protection, has nothing to do with our tokens.
        if let token = request.bearerToken { return token }
        if let offered = request.tokens(of: .webSocketProtocol).first(where: { $0.hasPrefix("bearer.") }) {
            return String(offered.dropFirst(7))
        }
        guard contract.client.tokenInQuery else { return nil }
        try parameters.checkSingle(["token"])
        return parameters.value(of: "token")
    }

    private func addRooms(_ parameters: [HTTPParameter], to bearer: inout Bearer) throws(HTTPProblem) {
        if parameters.isEmpty { return }
        if let thread = parameters.value(of: "thread_id") {
            try APICall.checkRoom(thread)
            guard mayJoin(.thread(thread), bearer) else { throw Self.forbidden("thread") }
            bearer.thread = thread
        }
        if let job = parameters.value(of: "job_id") {
            let name = JobName.text(job)
            // A job's id that cannot be used is replaced, and the client learns the new one; nobody else knows it.
            bearer.job = name.usable ?? JobName.generated()
            guard name.usable == nil || mayJoin(.job(job), bearer) else { throw Self.forbidden("job") }
        }
    }

    private static func forbidden(_ kind: String) -> HTTPProblem {
        HTTPProblem(403, "\(kind)_not_allowed", "the token does not name this \(kind)")
    }

    static func unauthorized(_ problem: TokenProblem) -> HTTPProblem {
        let challenge = problem == .missing ? "Bearer" : "Bearer error=\"invalid_token\""
        return HTTPProblem(401, problem.code, problem.detail).with("WWW-Authenticate", challenge)
    }

    private func isProxy(_ address: NetworkAddress) -> Bool { proxies.contains { $0.contains(address) } }

    private static func mixed(_ value: UInt64) -> UInt64 {
        var mixed = value &+ 0x9E37_79B9_7F4A_7C15
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    // MARK: Backends

    /// Returns true if the peer of a Unix socket needs no key.
    func isTrusted(_ socket: Int32) -> Bool {
        if contract.api.trustsUnixSockets, StreamSocket.isUnix(socket) { return true }
        guard let uid = PeerCredentials.uid(of: socket) else { return false }
        return uid == 0 || uid == CurrentProcess.effectiveUser || contract.api.allowedUIDs.contains(uid)
    }

    /// Throws unless a backend may send this request.
    func checkBackend(_ request: HTTPRequest, isTrusted: Bool) throws(HTTPProblem) {
        if isTrusted || contract.isDevelopment { return }
        guard let isKnown = request.withBearerToken({ Self.isOne(of: apiKeys, $0) }) else {
            throw HTTPProblem(401, "key_missing", "send an API key: Authorization: Bearer")
                .with("WWW-Authenticate", "Bearer")
        }
        guard isKnown else {
            throw HTTPProblem(401, "key_wrong", "this server does not know this API key")
                .with("WWW-Authenticate", "Bearer error=\"invalid_token\"")
        }
    }

    /// Compares with every key and every byte, so that the time it takes reveals nothing.
    static func isOne(of keys: [[UInt8]], _ offered: Span<UInt8>) -> Bool {
        var isFound: UInt8 = 0
        for key in keys {
            var difference = UInt8(key.count == offered.count ? 0 : 1)
            for index in offered.indices { difference |= offered[index] ^ key[index % max(1, key.count)] }
            isFound |= difference == 0 && !key.isEmpty ? 1 : 0
        }
        return isFound == 1
    }
}
