// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// What a supervisor begins with: sockets, memory and workers, of its own or left by a previous supervisor.
struct Beginning {
    let workers: [WorkerProcess]
    let map: ShardMap
    let listeners: Listeners
    let board: Board
    let store: DescriptorStore?
    /// What the shards' memory was made for.
    let inForce: StartOnly
    /// When the service was started, in nanoseconds of the monotonic clock.
    let startedAt: UInt64

    /// What the previous program of this process has left; if something fails here, that program keeps everything.
    init(_ state: SupervisorState, policy: WorkerLifecycle.Policy, now: UInt64) throws {
        // Whatever may fail comes first: from then on the descriptors are ours, and closed if we fail.
        try Board.check(state.board, shards: state.workers.count)
        try Switchboard.check(state.switchboard)
        workers = try WorkerProcess.resumed(state, policy: policy, now: now)
        map = ShardMap(shardCount: state.workers.count, generation: state.mapGeneration)
        listeners = Listeners(state)
        board = try Board(adopting: state.board, shards: state.workers.count, addressKey: state.addressKey)
        let memory = state.storeMemory
        store = memory < 0 ? nil : DescriptorStore(memory: OwnedDescriptor(owning: memory), names: state.storedNames)
        inForce = state.startOnly
        startedAt = state.startedAt
    }

    /// What a supervisor that has ended has left with the service manager.
    ///
    /// `window` is how many clients of each worker may be on their way.
    init(
        _ remains: Remains,
        listeners: Listeners,
        policy: WorkerLifecycle.Policy,
        window: Int,
        now: UInt64
    ) throws {
        let state = remains.state
        workers = try state.shards.enumerated().map { shard, left in
            try WorkerProcess(shard: shard, left, remains, policy: policy, window: window, now: now)
        }
        map = ShardMap(shardCount: state.shards.count, generation: state.mapGeneration)
        self.listeners = listeners
        board = try Board(
            adopting: remains.take(.board, state.board) ?? -1,
            shards: state.shards.count,
            addressKey: state.addressKey
        )
        store = DescriptorStore(memory: OwnedDescriptor(owning: remains.memory), names: remains.names)
        inForce = state.startOnly
        startedAt = now
    }

    /// New shards, whose first workers are still to be started.
    init(_ configuration: Configuration, shards: Int, listeners: Listeners, isStoring: Bool, now: UInt64) throws {
        let policy = WorkerLifecycle.Policy(configuration.supervision)
        // The first of them to serve must not turn anybody away because the others do not serve yet.
        workers = (0..<shards).map { WorkerProcess(shard: $0, tag: $0, policy: policy, waits: true) }
        map = ShardMap(shardCount: shards, generation: 1)
        self.listeners = listeners
        board = try Board(shards: shards, limits: configuration.limits)
        store = isStoring ? try DescriptorStore() : nil
        inForce = StartOnly(configuration)
        startedAt = now
    }
}
