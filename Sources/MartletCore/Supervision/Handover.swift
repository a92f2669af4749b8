/// A planned change of a shard's worker, as its supervisor sees it: who owns the shard, and who is told what next.
///
/// Until ``Action/commit`` the old worker (the donor) owns the shard, and everything can be taken back; from then on the new
/// one (the heir) does, and the donor touches no client again. Pure: what happens comes in, what to do comes out.
package struct Handover: Equatable, Sendable {
    private enum State: Equatable, Sendable {
        /// The heir was started; the donor has not noticed anything.
        case starting
        /// The donor was told to stop reading and writing.
        case freezing
        /// The heir takes the sockets, and changes nothing.
        case collecting
        /// The heir was killed; nothing may be taken back before it has ended, because it holds the sockets too.
        case endingHeir(reason: String, isFrozen: Bool)
        /// The heir is gone; what was asked before the freeze must be answered before anything is asked again.
        case thawing(reason: String)
        case over
    }

    package enum Event: Equatable, Sendable {
        case heirReady
        case donorFrozen
        /// The heir holds the sockets; or says why it does not.
        case collected(problem: String?)
        case heirEnded(String)
        case donorEnded
        /// ``deadline`` has passed.
        case timeout
    }

    package enum Action: Equatable, Sendable {
        case none
        /// Hold what comes for the shard, and tell the donor to freeze.
        case freeze
        /// Tell the heir to collect.
        case collect
        /// The shard is the heir's.
        case commit
        case killHeir
        /// Tell the donor to go on, then release what was held.
        case thaw(reason: String)
        /// It is given up, and the donor never noticed.
        case giveUp(reason: String)
        /// The donor is gone or hangs: end both; what it leaves is taken over as after any crash.
        case endBoth
    }

    private var state = State.starting
    private let patience: UInt64
    /// When ``Event/timeout`` is due, in the caller's clock.
    package private(set) var deadline: UInt64

    /// `patience`: how long each step may take.
    package init(now: UInt64, patience: UInt64) {
        self.patience = patience
        deadline = now + patience
    }

    package var isOver: Bool { state == .over }

    /// Something happened; what does not fit the present step changes nothing.
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
