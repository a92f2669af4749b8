// SPDX-License-Identifier: Apache-2.0

/// A planned change of a shard's worker, as its supervisor sees it: who owns the shard, and who is told what next.
///
/// Until ``Action/commit`` the old worker (the donor) owns the shard, and everything can be undone. From then on the
/// new one (the heir) owns it, and the donor touches no client again. The type is pure: events come in, actions come
/// out.
package struct Handover: Equatable, Sendable {
    private enum State: Equatable, Sendable {
        /// The heir was started; the donor has not noticed anything.
        case starting
        /// The donor was told to stop reading and writing.
        case freezing
        /// The heir takes the sockets, and changes nothing.
        case collecting
        /// The heir was killed; nothing may be undone before it has ended, because it holds the sockets too.
        case endingHeir(reason: String, isFrozen: Bool)
        /// The heir is gone; the donor must confirm the freeze before it can be told to go on.
        case thawing(reason: String)
        case over
    }

    package enum Event: Equatable, Sendable {
        case heirReady
        case donorFrozen
        /// The heir holds the sockets, or says why it does not.
        case collected(problem: String?)
        case heirEnded(String)
        case donorEnded
        /// ``deadline`` has passed.
        case timeout
    }

    package enum Action: Equatable, Sendable {
        case none
        /// Hold the requests for the shard, and tell the donor to freeze.
        case freeze
        /// Tell the heir to collect.
        case collect
        /// The shard is the heir's.
        case commit
        case killHeir
        /// Tell the donor to go on, then release the requests that were held.
        case thaw(reason: String)
        /// Give up; the donor has not noticed anything.
        case giveUp(reason: String)
        /// End both, because the donor is gone or hangs; what it leaves is taken over as after any crash.
        case endBoth
    }

    private var state = State.starting
    private let patience: UInt64
    /// When ``Event/timeout`` is due, in the caller's clock.
    package private(set) var deadline: UInt64

    /// Begins a handover in which each step may take as long as `patience`.
    package init(now: UInt64, patience: UInt64) {
        self.patience = patience
        deadline = now + patience
    }

    package var isOver: Bool { state == .over }

    /// Handles an event; one that does not fit the current step changes nothing.
    package mutating func heard(_ event: Event, now: UInt64) -> Action {
        let action = next(event)
        if action != .none { deadline = now + patience }
        return action
    }

    private mutating func next(_ event: Event) -> Action {
        switch (state, event) {
        case (.over, _): return .none
        case (.endingHeir(let reason, let isFrozen), .heirEnded):
            return end(isFrozen ? .thaw(reason: reason) : .giveUp(reason: reason))
        case (_, .donorEnded): return end(.endBoth)
        case (.endingHeir, _): return .none
        case (.starting, .heirReady):
            state = .freezing
            return .freeze
        case (.freezing, .donorFrozen):
            state = .collecting
            return .collect
        case (.collecting, .collected(nil)): return end(.commit)
        case (.collecting, .collected(let problem?)): return endHeir(problem, isFrozen: true)
        case (.starting, .heirEnded(let how)): return end(.giveUp(reason: how))
        case (.freezing, .heirEnded(let how)):
            state = .thawing(reason: how)
            return .none
        case (.thawing(let reason), .donorFrozen): return end(.thaw(reason: reason))
        case (.collecting, .heirEnded(let how)): return end(.thaw(reason: how))
        case (.starting, .timeout): return endHeir("it did not become ready in time", isFrozen: false)
        case (.collecting, .timeout): return endHeir("it did not take over in time", isFrozen: true)
        case (.freezing, .timeout), (.thawing, .timeout): return end(.endBoth)
        default: return .none
        }
    }

    private mutating func end(_ action: Action) -> Action {
        state = .over
        return action
    }

    private mutating func endHeir(_ reason: String, isFrozen: Bool) -> Action {
        state = .endingHeir(reason: reason, isFrozen: isFrozen)
        return .killHeir
    }
}
