internal import MartletLinux
internal import MartletWire

/// One connection that speaks HTTP: a backend's, or a browser's before its upgrade is answered.
final class HTTPConnection {
    enum Kind {
        case client
        case api
        /// Whoever comes here is told the metrics, and nothing else.
        case metrics
    }

    let kind: Kind
    let index: Int
    let generation: UInt32
    /// -1 once the socket went to a WebSocket, or to another worker.
    var descriptor: Int32
    var exchange: HTTPExchange
    /// Bytes of the peer's stream that were read.
    var bytesRead: UInt64 = 0
    /// When it came, or when its present request began to arrive (monotonic nanoseconds).
    var since: UInt64
    var lastReceived: UInt64
    /// When it took something of its answers last, or since when something waits for it (monotonic nanoseconds).
    var lastTaken: UInt64
    /// Bytes that its kernel had not taken when we looked last.
    var untaken = 0
    /// Bytes of its request's body that count against what all may send.
    var bodyBytes = 0
    /// The batch that it is sending.
    var batch: Batch?
    /// Whether it needs no API key; nil before that was asked.
    var isTrusted: Bool?
    /// It has shown that it may use the API.
    var isKnown = false
    /// Until when it may be heard in this turn of the loop; 0: nobody has looked at the clock yet.
    var sliceEnd: UInt64 = 0
    /// The turn of the door for which ``sliceEnd`` holds.
    var turn: UInt64 = 0
    /// Waits in the door's list of those who are heard later.
    var isPutOff = false
    /// A whole request of it was read.
    var hasAsked = false
    /// What epoll watches for; empty: the socket is not registered.
    var interest: EventLoop.Interest = []
    var isDirty = false
    /// What could not be written yet.
    var unsent: [UInt8] = []
    var unsentStart = 0
    /// The peer has ended its side; answers may still be owed.
    var hasEnded = false
    /// We have ended ours; the peer reads the rest and leaves.
    var isLingering = false

    init(kind: Kind, index: Int, generation: UInt32, descriptor: Int32, limits: HTTPExchange.Limits, now: UInt64) {
        self.kind = kind
        self.index = index
        self.generation = generation
        self.descriptor = descriptor
        exchange = HTTPExchange(limits: limits)
        since = now
        lastReceived = now
        lastTaken = now
    }

    var token: UInt64 { EventToken(.http, index: index, generation: generation).rawValue }
    var unsentCount: Int { unsent.count - unsentStart }
    /// Nothing is under way between us: it may be let go of where others need its place.
    var isIdle: Bool {
        !exchange.isWaiting && !exchange.isReceivingBody && !owesBytes && !isPutOff && batch == nil
    }
    /// Answers are on their way to it.
    var owesBytes: Bool { unsentCount > 0 || exchange.hasOutput }
}
