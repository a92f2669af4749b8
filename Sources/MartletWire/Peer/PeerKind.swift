// SPDX-License-Identifier: Apache-2.0

/// The kind of a frame between supervisor and worker.
package enum PeerKind: UInt8, Sendable {
    /// Worker to supervisor: I am serving.
    case ready = 1
    /// Worker to supervisor: I am alive, and these are my statistics.
    case alive = 2
    /// Supervisor to worker: close your clients and exit.
    case stop = 3
    /// Supervisor to worker: the state of every shard.
    case shardStates = 4
    /// A ``Command``, from the requester to the owner.
    case command = 5
    /// A ``CommandReply``, from the owner back to the requester.
    case reply = 6
    /// Worker to supervisor: a line for the log.
    case log = 7
    /// Worker to supervisor: ``RoomChanges`` of its shard, in pieces; the last piece has a correlation other than 0.
    case rooms = 8
    /// Supervisor to worker: the changes with that correlation are noted; publishes are sent accordingly from now on.
    case roomsNoted = 9
    /// Supervisor to an heir: the previous worker is frozen, collect its sockets.
    ///
    /// If there are several donors (the number of shards changes), two bytes name the one whose turn it is.
    case collect = 10
    /// Worker to supervisor: I hold the sockets (``Adoption``), and have changed nothing yet.
    ///
    /// As the answer to ``awaitCopies``: I have copied everything that belongs to them.
    case collected = 11
    /// Supervisor to worker: the shard is yours.
    case commit = 12
    /// Worker to supervisor: all rooms of its shard (``RoomChanges``), which replace what was known.
    ///
    /// They come in pieces. The correlation says how many pieces are still to come; the last one puts them in force.
    case allRooms = 13
    /// Worker to supervisor: the result of the take-over (``Adoption``); I am serving.
    case recovered = 14
    /// Supervisor to worker: stop reading and writing clients, another worker is about to take them over.
    case freeze = 15
    /// Worker to supervisor: I have stopped reading and writing, and all requests are answered.
    case frozen = 16
    /// Supervisor to worker: the handover has failed, go on.
    case thaw = 17
    /// Supervisor to worker: another worker has the shard; answer the requests of your HTTP clients, then exit.
    case retire = 18
    /// Supervisor to an heir of several donors: say when you have copied everything (``collected``).
    case awaitCopies = 19
}
