/// What a frame between supervisor and worker is.
package enum PeerKind: UInt8, Sendable {
    /// Worker to supervisor: I serve.
    case ready = 1
    /// Worker to supervisor: I am alive, and these are my statistics.
    case alive = 2
    /// Supervisor to worker: close your clients and exit.
    case stop = 3
    /// Supervisor to worker: the state of every shard.
    case shardStates = 4
    /// A ``Command``, from whoever asks to whoever owns.
    case command = 5
    /// A ``CommandReply``, back.
    case reply = 6
    /// Worker to supervisor: a line for the log.
    case log = 7
    /// Worker to supervisor: ``RoomChanges`` of its shard, in pieces; the last one has a correlation other than 0.
    case rooms = 8
    /// Supervisor to worker: the changes of that correlation are noted; publishes are sent accordingly from now on.
    case roomsNoted = 9
    /// Supervisor to an heir: the previous worker moves nothing any more, collect its sockets.
    ///
    /// Where there are several donors (a new number of shards), two bytes name the one whose turn it is.
    case collect = 10
    /// Worker to supervisor: I hold them (``Adoption``), and have changed nothing yet; or, in answer to ``awaitCopies``, I have
    /// copied all that belongs to them.
    case collected = 11
    /// Supervisor to worker: the shard is yours.
    case commit = 12
    /// Worker to supervisor: all rooms of its shard (``RoomChanges``), in place of what was known.
    ///
    /// They come in pieces; the correlation says how many are still to come, and with the last one they count.
    case allRooms = 13
    /// Worker to supervisor: what the take-over came to (``Adoption``); it serves.
    case recovered = 14
    /// Supervisor to worker: stop reading and writing clients, another worker is about to take them over.
    case freeze = 15
    /// Worker to supervisor: nothing moves any more, and all that was asked is answered.
    case frozen = 16
    /// Supervisor to worker: it came to nothing, go on.
    case thaw = 17
    /// Supervisor to worker: the shard is another's; answer whoever speaks HTTP to you, then exit.
    case retire = 18
    /// Supervisor to an heir of several donors: say when you have copied everything (``collected``).
    case awaitCopies = 19
}
