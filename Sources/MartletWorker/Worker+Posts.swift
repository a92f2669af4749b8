// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletWire

// What clients post that read server-sent events: they are checked here, and answered by the shard of their session.

extension Worker {
    /// Returns true if a request is about server-sent events.
    func isAboutEvents(_ request: HTTPRequest, _ connection: HTTPConnection) -> Bool {
        connection.kind == .client && request.hasPath(text: gatekeeper.eventPath)
    }

    /// Refuses a request with a body that its sender may not make, before any of the body is read.
    func checkPost(_ request: HTTPRequest, _ connection: HTTPConnection) throws(HTTPProblem) {
        try gatekeeper.checkOrigin(request)
        guard request.method == .post else {
            _ = try ClientRequest.onEvents(request)
            return
        }
        _ = try clientPost(request, connection)
    }

    /// Asks the shard that has the session.
    func post(_ call: HTTPCall, _ manager: isolated WebSocketManager) throws(HTTPProblem) {
        let post = try clientPost(call.request, call.connection)
        let input = call.connection.exchange.input
        let caller = gatekeeper.caller(of: call.request, from: call.connection.address)
        let address = gatekeeper.guesserNumber(of: caller)
        let asker = Router.Asker.client(call.connection, number: call.number, address: address)
        carryOut(Request(.fromClient(post)), input.span.extracting(call.body), asker, manager)
    }

    private func clientPost(_ request: HTTPRequest, _ connection: HTTPConnection) throws(HTTPProblem) -> ClientPost {
        let caller = gatekeeper.caller(of: request, from: connection.address)
        let user = try gatekeeper.bearer(of: request, from: caller).user
        let offer = try SessionOffer(request)
        // A token that cannot be this user's is not asked for.
        guard let secret = offer.token.secret, offer.token.connection.userSlot == ShardMap.userSlot(of: user) else {
            gatekeeper.countGuess(from: gatekeeper.guesserNumber(of: caller))
            throw APIAnswer.unknownSession
        }
        return ClientPost(
            user: user,
            connection: offer.token.connection,
            high: secret.high,
            low: secret.low,
            request.method == .delete ? .end : .messages(first: offer.first)
        )
    }
}
