// SPDX-License-Identifier: Apache-2.0

/// A planned change of the number of shards, as the supervisor sees it: new workers take over from the old ones.
///
/// Until ``Action/commit`` the old workers (the donors) own all users, and everything can be undone. From then on the
/// new ones (the heirs) own them. Each heir takes the sockets of its own users from one donor after the other: in round
/// `r` heir `h` is at donor `(h + r) % rounds`, so that no two heirs are at the same one. Meanwhile it copies what
/// belongs to the sockets, and in the end it says that the copy is complete. The type is pure, like ``Handover``.
package struct Resharding: Equatable, Sendable {
    private enum State: Equatable, Sendable {
        /// The heirs were started; the donors have not noticed anything.
        case starting
        /// The donors were told to stop reading and writing.
        case freezing
        case collecting(round: Int)
        /// The heirs have all the sockets; some may still be copying what belongs to them.
        case copying
        /// The heirs were killed; nothing may be undone before all of them have ended.
        case endingHeirs(reason: String)
        case over
    }

    package enum Event: Equatable, Sendable {
        case heirReady(Int)
        case donorFrozen(Int)
        /// An heir has the sockets that it takes from the donor of this round, or has copied everything that belongs to
        /// them, or says why it could not.
        case collected(heir: Int, problem: String?)
        case heirEnded(Int, String)
        case donorEnded(Int)
        /// ``deadline`` has passed.
        case timeout
    }

    package enum Action: Equatable, Sendable {
        case none
        /// Hold the requests for all shards, and tell the donors to freeze.
        case freeze
        /// Tell every heir to take its sockets from this round's donor (``donor(of:in:)``).
        case collect(round: Int)
        /// Ask every heir to say when it has copied everything.
        case awaitCopies
        /// The shards are the heirs'.
        case commit
        case killHeirs
        /// Tell the donors to go on, and release the requests that were held.
        case thaw(reason: String)
        /// Give up; the donors have not noticed anything.
        case giveUp(reason: String)
    }

    private let donors: Int
    private let heirs: Int
    private let patience: UInt64
    private var state = State.starting
    /// Heirs that have not reported in this step yet.
    private var awaitedHeirs: Set<Int>
    /// Donors that were told to freeze and have not said that they have.
    private var awaitedDonors: Set<Int> = []
    private var livingHeirs: Set<Int>
    private var wasFreezing = false
    /// When ``Event/timeout`` is due, in the caller's clock.
    package private(set) var deadline: UInt64

    /// Begins a change in which each step may take as long as `patience`.
    package init(donors: Int, heirs: Int, now: UInt64, patience: UInt64) {
        self.donors = donors
        self.heirs = heirs
        self.patience = patience
        awaitedHeirs = Set(0..<heirs)
        livingHeirs = Set(0..<heirs)
        deadline = now + patience
    }

    package var isOver: Bool { state == .over }

    /// Returns the donor that an heir collects from in a round; nil: none.
    package func donor(of heir: Int, in round: Int) -> Int? {
        let donor = (heir + round) % rounds
        return donor < donors ? donor : nil
    }

    private var rounds: Int { max(donors, heirs) }

    /// Handles an event; one that does not fit the current step changes nothing.
    package mutating func heard(_ event: Event, now: UInt64) -> Action {
        let action = next(event)
        if action != .none { deadline = now + patience }
        return action
    }

    private mutating func next(_ event: Event) -> Action {
        if state == .over { return .none }
        switch event {
        case .heirEnded(let heir, let how):
            livingHeirs.remove(heir)
            if case .endingHeirs(let reason) = state { return endIfAlone(reason) }
            return endHeirs("shard \(heir): \(how)")
        case .donorEnded(let donor):
            awaitedDonors.remove(donor)
            if case .endingHeirs(let reason) = state { return endIfAlone(reason) }
            return endHeirs("the worker of shard \(donor) ended meanwhile")
        case .donorFrozen(let donor):
            awaitedDonors.remove(donor)
            if case .endingHeirs(let reason) = state { return endIfAlone(reason) }
            guard state == .freezing, awaitedDonors.isEmpty else { return .none }
            return collect(round: 0)
        case .heirReady(let heir):
            guard state == .starting, awaitedHeirs.remove(heir) != nil, awaitedHeirs.isEmpty else { return .none }
            state = .freezing
            wasFreezing = true
            awaitedDonors = Set(0..<donors)
            return .freeze
        case .collected(let heir, let problem):
            return collected(by: heir, problem)
        case .timeout: return timeout()
        }
    }

    private mutating func collected(by heir: Int, _ problem: String?) -> Action {
        var next: Int?
        if case .collecting(let round) = state { next = round + 1 }
        guard next != nil || state == .copying, awaitedHeirs.remove(heir) != nil else { return .none }
        if let problem { return endHeirs("shard \(heir): \(problem)") }
        guard awaitedHeirs.isEmpty else { return .none }
        if let next { return collect(round: next) }
        state = .over
        return .commit
    }

    private mutating func collect(round: Int) -> Action {
        if round == rounds {
            state = .copying
            awaitedHeirs = Set(0..<heirs)
            return .awaitCopies
        }
        state = .collecting(round: round)
        awaitedHeirs = Set((0..<heirs).filter { donor(of: $0, in: round) != nil })
        return .collect(round: round)
    }

    private mutating func timeout() -> Action {
        switch state {
        case .starting: endHeirs("shard \(awaitedHeirs.min() ?? 0): it did not become ready in time")
        case .freezing: endHeirs("the worker of shard \(awaitedDonors.min() ?? 0) did not freeze in time")
        case .collecting, .copying: endHeirs("shard \(awaitedHeirs.min() ?? 0): it did not take over in time")
        case .endingHeirs, .over: .none
        }
    }

    private mutating func endHeirs(_ reason: String) -> Action {
        state = .endingHeirs(reason: reason)
        let ending = endIfAlone(reason)
        return ending == .none ? .killHeirs : ending
    }

    private mutating func endIfAlone(_ reason: String) -> Action {
        guard livingHeirs.isEmpty, awaitedDonors.isEmpty else { return .none }
        state = .over
        return wasFreezing ? .thaw(reason: reason) : .giveUp(reason: reason)
    }
}
