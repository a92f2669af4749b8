// SPDX-License-Identifier: Apache-2.0

internal import MartletLinux
internal import MartletWire

/// One connection that speaks HTTP: a backend's, or a client's before its upgrade is answered.
final class HTTPConnection {
    enum Kind {
        case client
        case api
        /// A peer that gets the metrics, and nothing else.
        case metrics
    }

    let kind: Kind
    let index: Int
    let generation: UInt32
    /// Where the other end is; nil: the socket has no address, because it is a Unix socket.
    let address: NetworkAddress?
    /// The socket; -1 once it is closed, or belongs to a WebSocket or to another worker.
    var descriptor: Int32
    var exchange: HTTPExchange
    /// How many bytes of the peer's stream were read.
    var bytesRead: UInt64 = 0
    /// When it connected, or when its current request began to arrive (monotonic nanoseconds).
    var since: UInt64
    var lastReceived: UInt64
    /// When it last read some of its answers, or since when something waits for it (monotonic nanoseconds).
    var lastTaken: UInt64
    /// How many bytes its kernel had not acknowledged when we last looked.
    var untaken = 0
    /// How many bytes of its request's body count towards the limit of all peers.
    var bodyBytes = 0
    /// The batch that it is sending.
    var batch: Batch?
    /// Whether it needs no API key; nil before this was checked.
    var isTrusted: Bool?
    /// Whether it has shown that it may use the API.
    var isKnown = false
    /// Until when it may be served in this turn of the loop; 0: the clock was not read yet.
    var sliceEnd: UInt64 = 0
    /// The turn of the door for which ``sliceEnd`` is valid.
    var turn: UInt64 = 0
    /// Whether it waits in the door's list of peers that are served later.
    var isPutOff = false
    /// Whether a whole request of it was read.
    var hasAsked = false
    /// What epoll watches for; empty: the socket is not registered.
    var interest: EventLoop.Interest = []
    var isDirty = false
    /// Whether the socket has no room for more of its answers.
    var isBlocked = false
    /// Whether the peer has ended its side; answers may still be outstanding.
    var hasEnded = false
    /// Whether we have ended our side; the peer reads the rest and leaves.
    var isLingering = false

    init(
        kind: Kind,
        index: Int,
        generation: UInt32,
        accepted: Listener.Accepted,
        limits: HTTPExchange.Limits,
        now: UInt64
    ) {
        self.kind = kind
        self.index = index
        self.generation = generation
        descriptor = accepted.descriptor
        address = accepted.address
        exchange = HTTPExchange(limits: limits)
        since = now
        lastReceived = now
        lastTaken = now
    }

    var token: UInt64 { EventToken(.http, index: index, generation: generation).rawValue }
    /// True if nothing is under way, so that the peer may be closed if others need its place.
    ///
    /// What a client posts has no such right: it is posted again.
    var isIdle: Bool {
        !exchange.isWaiting && (!exchange.isReceivingBody || kind == .client) && !owesBytes && !isPutOff && batch == nil
    }
    /// True if nothing but the answer to its present request is still to be sent, so that the door may let its socket go.
    var isDone: Bool { !owesBytes && exchange.waitingCount <= 1 }
    /// True if answers still have to be sent to it.
    var owesBytes: Bool { exchange.hasOutput }
}
