// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletWire

/// A `POST /v1/batch` under way: the answers to its lines, in order, and the publishes that wait for other shards.
///
/// While too many lines are unanswered, no further ones are read, so a batch of any length takes little memory.
final class Batch {
    /// Publishes for one shard that travel together.
    struct Parcel {
        var bytes: [UInt8] = []
        /// The numbers of the lines that they came from.
        var lines: [Int] = []
    }

    private static let mostUnanswered = 16384

    let connection: HTTPConnection
    private(set) var parcels: [Int: Parcel] = [:]
    private var answers: [[UInt8]?] = []
    private var answersStart = 0
    /// The number of the first line that has no answer yet.
    private var firstLine = 0
    private var isBodyComplete = false
    private var isCut = false

    init(connection: HTTPConnection) {
        self.connection = connection
    }

    private var unanswered: Int { answers.count - answersStart }

    /// True when everything is read and answered.
    var isOver: Bool { isBodyComplete && unanswered == 0 }

    /// Notes that a line came in, and returns its number.
    func begin() -> Int {
        answers.append(nil)
        if unanswered >= Self.mostUnanswered { connection.exchange.isPaused = true }
        return firstLine + unanswered - 1
    }

    func bodyEnded() { isBodyComplete = true }

    /// Ends the reading of lines before the body is complete; returns false if no answers are outstanding either.
    func cut() -> Bool {
        isCut = true
        return unanswered > 0
    }

    /// True when the batch was cut short, and every line that was read before is answered.
    var isCutShort: Bool { isCut && !isBodyComplete && unanswered == 0 }

    /// Adds a publish to the parcel for a shard; returns true if the parcel is full.
    func add(_ request: Request, text: Span<UInt8>, line: Int, to shard: Int) -> Bool {
        var parcel = parcels.removeValue(forKey: shard) ?? Parcel()
        BatchCoding.append(request, text: text, to: &parcel.bytes)
        parcel.lines.append(line)
        let isFull =
            parcel.bytes.count >= BatchCoding.largestFrame || parcel.lines.count >= BatchCoding.mostPublishes
        parcels[shard] = parcel
        return isFull
    }

    func takeParcel(for shard: Int) -> Parcel? { parcels.removeValue(forKey: shard) }

    func takeParcels() -> [Int: Parcel] {
        if parcels.isEmpty { return [:] }
        defer { parcels = [:] }
        return parcels
    }

    func answer(_ line: Int, _ reply: CommandReply) {
        switch reply {
        case .receipt(let delivery): answer(line, APIAnswer.text(of: delivery))
        case .failed(let failure): answer(line, APIAnswer.problem(failure).json)
        default: answer(line, APIAnswer.problem(.malformed).json)
        }
    }

    func answer(_ line: Int, _ problem: HTTPProblem) { answer(line, problem.json) }

    private func answer(_ line: Int, _ text: [UInt8]) {
        let index = line - firstLine + answersStart
        guard answers.indices.contains(index), answers[index] == nil else { return }
        answers[index] = text
        if index == answersStart { passOn() }
    }

    /// Passes the known answers to the exchange, in the order of their lines.
    private func passOn() {
        while answersStart < answers.count, let text = answers[answersStart] {
            connection.exchange.stream(text)
            connection.exchange.stream([0x0A])
            answers[answersStart] = nil
            answersStart += 1
            firstLine += 1
        }
        if answersStart == answers.count {
            answers.removeAll(keepingCapacity: true)
            answersStart = 0
        } else if answersStart > 4096 {
            answers.removeFirst(answersStart)
            answersStart = 0
        }
        if unanswered < Self.mostUnanswered / 2 { connection.exchange.isPaused = false }
    }
}
