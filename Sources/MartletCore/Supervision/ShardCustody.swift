// SPDX-License-Identifier: Apache-2.0

/// Who has a shard, and what is done with whatever comes for it, as its supervisor decides it.
///
/// A shard has one worker after another. What a worker leaves (its memory, and its sockets in its keeper's hands) is taken over by
/// the next one, or lost. The supervisor reports what happens to ``heard(_:)``, and does what that returns, in order. Pure, like
/// ``Handover``, which decides about a planned replacement until its commit.
package struct ShardCustody: Equatable, Sendable {
    package enum State: Equatable, Sendable {
        /// There is no worker. `left`: the previous one left something to take over.
        case vacant(left: Bool)
        /// A worker was started that begins anew.
        case beginning
        /// A worker was started to take over what the previous one left, which is not its own yet.
        case inheriting
        /// The shard was given to the worker, which has not said yet what it made of it.
        case recovering
        /// A previous supervisor started the worker, and it has not told us yet that it is ready.
        case unconfirmed
        case serving
        /// The worker serves, but stands still for a replacement.
        case frozen
        /// The worker had the shard, and another one has it now.
        case retired
    }

    package enum Event: Equatable, Sendable {
        /// A worker was started.
        case started
        /// The worker says that it is ready.
        case ready
        /// The worker holds the sockets that were left; or it does not, and says why.
        case collected(isComplete: Bool)
        /// The worker says what it took over, and serves.
        case recovered
        /// A replacement makes the worker stand still.
        case froze
        /// The replacement came to nothing.
        case thawed
        /// A replacement gives the shard to this worker.
        case committed
        /// A replacement has given the shard to another worker.
        case replaced
        /// The worker has ended. `leaves`: its keeper holds what it had. `restartsSoon`: the next one starts at once.
        case ended(leaves: Bool, restartsSoon: Bool)
    }

    package enum Action: Equatable, Sendable {
        /// Tell the worker to collect what was left.
        case collect
        /// Dismiss the keeper of the previous worker, and tell the present one that the shard is its own.
        case commit
        /// End the worker: it cannot take over.
        case end
        /// Forget the rooms of the shard: its worker tells all that it has.
        case forgetRooms
        /// The worker serves from now on.
        case serve
        /// Ask the worker what was asked of the shard meanwhile, and pass on the clients that waited.
        case release
        /// Keep what the worker left, for the next one.
        case keep
        /// Nothing is left: count its connections as lost.
        case lose
        /// Keep the clients that were on their way for the next worker.
        case hold
        /// Nobody will come soon: refuse whoever waits.
        case fail
    }

    /// How many workers in a row may end before they have served, until what they were to take over is given up.
    package static let mostFailures = 5

    package private(set) var state: State
    /// Whether whatever comes for the shard waits, where no worker can take it.
    private var waits: Bool
    /// Workers in a row that ended before they served.
    private var failures = 0

    /// A shard in a state in which another supervisor, or the start of the service, has left it.
    ///
    /// - Parameters:
    ///   - state: The state.
    ///   - waits: Whether whatever comes for the shard waits until there is a worker that serves.
    package init(_ state: State, waits: Bool) {
        self.state = state
        self.waits = waits
    }

    /// Requests and clients for the shard are kept until its worker serves.
    package var isRecovering: Bool {
        switch state {
        case .vacant, .beginning, .inheriting, .recovering: waits
        case .unconfirmed, .serving, .frozen, .retired: false
        }
    }

    /// Clients of the shard wait, whatever its worker does.
    package var holdsClients: Bool { isRecovering || state == .frozen || state == .unconfirmed }

    /// The present worker has come to where it serves.
    package var hasServed: Bool { state == .serving || state == .frozen }

    /// The worker may say, once, what it took over, and all rooms of the shard.
    package var owesRecovery: Bool { state == .recovering || state == .unconfirmed }

    /// Something happened; whatever does not fit the present state changes nothing.
    package mutating func heard(_ event: Event) -> [Action] {
        switch (state, event) {
        case (_, .ended(let leaves, let restartsSoon)): return ended(leaves: leaves, restartsSoon: restartsSoon)
        case (.vacant(let left), .started):
            state = left ? .inheriting : .beginning
            return []
        case (.beginning, .ready):
            defer { serve() }
            return [.forgetRooms, .serve] + (waits ? [.release] : [])
        case (.inheriting, .ready): return [.collect]
        case (.unconfirmed, .ready):
            serve()
            return [.serve, .release]
        case (.inheriting, .collected(true)):
            state = .recovering
            return [.commit]
        case (.inheriting, .collected(false)): return [.end]
        case (.recovering, .recovered):
            serve()
            return [.serve, .release]
        // It took over from the previous worker only now, as the supervisor of that time ended; `ready` follows.
        case (.unconfirmed, .recovered): return []
        case (.serving, .froze):
            state = .frozen
            return []
        case (.frozen, .thawed):
            state = .serving
            return [.release]
        case (.beginning, .committed), (.inheriting, .committed):
            (state, waits) = (.recovering, true)
            return [.commit]
        case (.serving, .replaced), (.frozen, .replaced):
            state = .retired
            return []
        default: return []
        }
    }

    private mutating func serve() {
        (state, waits, failures) = (.serving, false, 0)
    }

    private mutating func ended(leaves: Bool, restartsSoon: Bool) -> [Action] {
        if case .vacant = state { return [] }
        if state == .retired {
            (state, waits) = (.vacant(left: false), false)
            return []
        }
        failures = hasServed ? 0 : failures + 1
        // A worker that never took over leaves what it was to take over, with the keeper that has it.
        let isUntouched = state == .inheriting
        let left = (isUntouched || leaves) && failures <= Self.mostFailures
        state = .vacant(left: left)
        waits = left && restartsSoon
        let kept: [Action] = left ? (isUntouched ? [] : [.keep]) : [.lose]
        return kept + [waits ? .hold : .fail]
    }
}
