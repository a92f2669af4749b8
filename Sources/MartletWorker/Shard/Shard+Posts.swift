// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

// What clients post that read server-sent events.

extension Shard {
    /// The most messages that are handled of one post; its client sends the others again.
    private static let mostMessages = 64

    /// Does what a client asks for its session; `text` has its messages, one a line.
    func receive(_ post: ClientPost, text: Span<UInt8>, on manager: isolated WebSocketManager) -> CommandReply {
        let token = SessionToken(connection: post.connection, secret: .init(high: post.high, low: post.low))
        do throws(ResumeProblem) {
            let (index, _, tokens) = try find(token, of: post.user, manager)
            switch post.action {
            case .end:
                let reason = CloseReason.normal
                return .closed(
                    manager.disconnect(connection: post.connection, code: reason.code, reason: reason.advice)
                )
            case .messages(let first):
                // Whoever has an older token does not know yet that the session goes on elsewhere.
                let isReading = sockets.isOpen(index) && sockets.isStreaming(index) && token.secret == tokens.newest
                defer { settle(index, on: manager) }
                let handled = isReading ? receive(text, first: first, from: index, manager) : nil
                // Asking again and again for nothing counts towards the rate, too.
                if handled ?? 0 == 0, sockets.isOpen(index) {
                    _ = judge(.pong, byteCount: 0, from: index, on: manager)
                }
                guard isReading else { return .failed(.notOpen) }
                return .received(sockets.arena.slot(index).messagesReceived, isWhole: handled != nil)
            }
        } catch {
            return .failed(.unknownConnection)
        }
    }

    /// Handles those of the posted messages that were not handled before, in order, for a slice of the turn.
    ///
    /// Returns how many they were; nil if messages before them are missing.
    private func receive(
        _ text: Span<UInt8>,
        first: UInt32,
        from index: Int,
        _ manager: isolated WebSocketManager
    ) -> Int? {
        let slot = sockets.arena.slot(index)
        unsafe slot.lastReceived = sockets.loop.now
        // The first message has the number 1, so none can be further back than all of them.
        let known = slot.messagesReceived &+ 1 &- first
        guard known <= slot.messagesReceived else { return nil }
        let end = Clock.monotonicNanoseconds() + LaterQueue.slice
        var number: UInt32 = 0
        var handled = 0
        Lines.forEach(in: text) { line in
            defer { number += 1 }
            guard number >= known else { return true }
            guard handled < Self.mostMessages, sockets.isOpen(index),
                handled == 0 || Clock.monotonicNanoseconds() < end
            else { return false }
            handled += 1
            sockets.take(
                line,
                of: index,
                { self.judge($0, byteCount: $1, from: index, on: manager) },
                { self.received($0, $1, from: index, on: manager) }
            )
            return true
        }
        return handled
    }
}
