// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletWire

/// A batch for one shard whose users several shards have now: it holds the parcels, and the answers in their old order.
final class SplitBatch {
    struct Parcel {
        var bytes: [UInt8] = []
        /// The numbers of these publishes in the whole batch.
        var numbers: [Int] = []
    }

    private var parcels: [Int: Parcel] = [:]
    private var replies: [CommandReply?] = []
    private var missing = 0
    private let onReplies: ([CommandReply]) -> Void

    /// Makes an empty batch; `onReplies` is called once, when every publish is answered.
    init(_ onReplies: @escaping ([CommandReply]) -> Void) {
        self.onReplies = onReplies
    }

    func add(_ request: Request, _ text: Span<UInt8>, to shard: Int) {
        var parcel = parcels.removeValue(forKey: shard) ?? Parcel()
        BatchCoding.append(request, text: text, to: &parcel.bytes)
        parcel.numbers.append(replies.count)
        parcels[shard] = parcel
        replies.append(nil)
        missing += 1
    }

    /// Adds a publish that does not belong to a single shard, and therefore fails.
    func addFailure() { replies.append(.failed(.malformed)) }

    /// Takes the parcels that must be sent; a batch without any is answered at once.
    func takeParcels() -> [Int: Parcel] {
        if missing == 0 { onReplies(replies.compactMap { $0 }) }
        defer { parcels = [:] }
        return parcels
    }

    /// Notes the answer of one shard to its part.
    func answered(_ numbers: [Int], _ reply: CommandReply) {
        for (index, number) in numbers.enumerated() {
            replies[number] =
                if case .batch(let list) = reply {
                    list.count == numbers.count ? list[index] : .failed(.malformed)
                } else {
                    reply
                }
        }
        missing -= numbers.count
        if missing == 0 { onReplies(replies.compactMap { $0 }) }
    }
}
