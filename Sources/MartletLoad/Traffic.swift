// SPDX-License-Identifier: Apache-2.0

internal import NIOCore

/// Numbered messages that backends publish without a break: to one user after another, to everybody, and to a thread.
///
/// It checks each receipt, and lives on its loop.
final class Traffic {
    /// The thread that some of the connections are in.
    static let thread = "continuity"

    struct Settings {
        let connections: Int
        /// The first of the connections that are in the thread.
        let firstInThread: Int
        let backends: Int
        /// Publishes without keys are recognised by the server alone, if they are repeated.
        let hasKeys: Bool
        let unicastPause: TimeAmount
        let broadcastPause: TimeAmount
        /// How long messages to users are, one as often as another.
        let paddings: [Int]
        /// Whether connections are sessions, which may be away.
        let hasSessions: Bool
    }

    private let settings: Settings
    private let loop: any EventLoop
    private let backends: [Backend]
    private var sentToUser: [Int]
    private var broadcasts = 0
    private var threadMessages = 0
    private(set) var isEnding = false
    /// How many publishes have no receipt yet.
    private(set) var underWay = 0
    private(set) var publishes = 0
    /// How many deliveries were kept for clients that were away.
    private(set) var held = 0
    private var unanswered = 0
    private var wrongReceipts: [String] = []
    /// Receipts that are whole, but name fewer connections than there should be.
    private var shortReceipts: [String] = []

    init(_ settings: Settings, _ api: API, on loop: any EventLoop) {
        self.settings = settings
        self.loop = loop
        let random = String(UInt64.random(in: 0...UInt64.max), radix: 36)
        backends = (0..<settings.backends + 2).map {
            Backend(settings.hasKeys ? "\(random)-\($0)" : nil, api, on: loop)
        }
        sentToUser = Array(repeating: 0, count: settings.connections)
    }

    func begin() {
        for number in 0..<settings.backends { unicast(number, user: number) }
        broadcast()
        sendToThread()
    }

    /// Publishes nothing more; what is under way is answered.
    func end() { isEnding = true }

    /// Returns how many messages of a sequence a connection should have received.
    func sent(_ sequence: NumberedMessage.Sequence, to connection: Int) -> Int {
        switch sequence {
        case .user: connection < settings.connections ? sentToUser[connection] : 0
        case .broadcast: connection < settings.connections ? broadcasts : 0
        case .thread: (settings.firstInThread..<settings.connections).contains(connection) ? threadMessages : 0
        case .echo: 0
        }
    }

    /// Adds what backends were told to a report; `isShort` says that some connections have ended as they should.
    func report(to report: inout LoadReport, isShort: Bool) {
        report.add("publishes", "publishes", publishes)
        report.add("repeated", "sent again", backends.reduce(0) { $0 + $1.repeated })
        if settings.hasSessions { report.add("held", "held for clients that were away", held) }
        report.add("unanswered", "unanswered", unanswered)
        if unanswered != 0 { report.breakPromise("\(unanswered) unanswered") }
        let wrong = wrongReceipts + (isShort ? [] : shortReceipts)
        report.add("wrong_receipts", "wrong receipts", wrong.count)
        for detail in wrong.prefix(10) + backends.flatMap(\.refusals).prefix(10) { report.breakPromise(detail) }
    }

    private func unicast(_ number: Int, user: Int) {
        if isEnding { return }
        let user = user < settings.connections ? user : number
        sentToUser[user] += 1
        let path = "/v1/users/\(Crowd.user(user, of: settings.connections))/messages"
        let body = NumberedMessage.text(.user, sentToUser[user], padding: settings.paddings.randomElement() ?? 10)
        publish(backends[number], path, body, matched: 1) {
            self.later(self.settings.unicastPause) { self.unicast(number, user: user + self.settings.backends) }
        }
    }

    private func broadcast() {
        if isEnding { return }
        broadcasts += 1
        let body = NumberedMessage.text(.broadcast, broadcasts, padding: 20)
        publish(backends[settings.backends], "/v1/broadcast", body, matched: settings.connections) {
            self.later(self.settings.broadcastPause) { self.broadcast() }
        }
    }

    private func sendToThread() {
        if isEnding { return }
        threadMessages += 1
        let body = NumberedMessage.text(.thread, threadMessages, padding: 20)
        let members = settings.connections - settings.firstInThread
        publish(backends[settings.backends + 1], "/v1/threads/\(Self.thread)/messages", body, matched: members) {
            self.later(self.settings.broadcastPause) { self.sendToThread() }
        }
    }

    private func publish(
        _ backend: Backend,
        _ path: String,
        _ body: ByteBuffer,
        matched: Int,
        _ then: @escaping () -> Void
    ) {
        underWay += 1
        publishes += 1
        backend.publish(path, body) { text in
            self.underWay -= 1
            if let text { self.check(path, text, matched: matched) } else { self.unanswered += 1 }
            then()
        }
    }

    private func check(_ path: String, _ text: String, matched: Int) {
        let receipt = Receipt(text)
        let problem = "\(path): \(text), expected \(matched) connections"
        guard let receipt, receipt.isWhole, receipt.matched <= matched, settings.hasSessions || receipt.held == 0 else {
            return wrongReceipts.append(problem)
        }
        held += receipt.held
        if receipt.matched < matched { shortReceipts.append(problem) }
    }

    private func later(_ pause: TimeAmount, _ then: @escaping () -> Void) {
        let bound = NIOLoopBound(then, eventLoop: loop)
        loop.scheduleTask(in: pause) { bound.value() }
    }
}
