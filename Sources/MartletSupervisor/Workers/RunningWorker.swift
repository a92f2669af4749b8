// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// A worker that runs: its process, and all that the supervisor has of it for as long as it lives.
///
/// When the process has ended, the whole value is let go of, and everything that belonged to the process is closed with it.
final class RunningWorker {
    let pid: Int32
    let process: any SupervisedProcess
    private let linkSocket: OwnedDescriptor
    /// The channel for clients' sockets.
    let post: DescriptorChannel
    let keeper: KeeperChannel?
    /// The tether by which the next supervisor can give the worker a new link.
    let tether: Tether?
    /// Whether the program that this process is now has started it, so that it understands everything that we send.
    var isOfThisProgram: Bool
    /// How long it may take to stop, as it was told; nil: this is not known.
    var stopTimeout: UInt64?
    /// The stream of frames to and from the worker.
    var stream = PeerStream()
    /// What it reported last.
    var reported = ShardStatistics()
    /// The rooms that it has reported, while more of them are to come.
    var roomsToldSoFar: [RoomChange] = []
    /// The keeper's process id; 0: the keeper has not reported.
    var keeperPid: Int32 = 0
    /// Whether the keeper has reported, or has failed to; its later messages are for the worker that inherits.
    var isKeeperKnown = false
    /// Whether its keeper has ended, although the worker lives.
    var isWithoutKeeper = false
    var watchesLinkWritable = false
    var watchesPostWritable = false
    /// How many log lines it has written in the current second.
    var logged: (second: UInt64, count: Int) = (0, 0)
    /// Why we ended it; nil: we did not.
    private var killReason: String?

    /// Adopts what belongs to a worker that was started, by this supervisor or a previous one.
    ///
    /// - Parameters:
    ///   - pid: The process id.
    ///   - process: The process.
    ///   - link: Our end of the stream of frames; closed with this value.
    ///   - post: The channel for clients' sockets.
    ///   - keeper: The channel to the worker's keeper.
    ///   - tether: Our end of the tether.
    ///   - isOfThisProgram: Whether this program started it.
    init(
        pid: Int32,
        process: any SupervisedProcess,
        link: consuming OwnedDescriptor,
        post: DescriptorChannel,
        keeper: KeeperChannel?,
        tether: Tether?,
        isOfThisProgram: Bool
    ) {
        self.pid = pid
        self.process = process
        linkSocket = link
        self.post = post
        self.keeper = keeper
        self.tether = tether
        self.isOfThisProgram = isOfThisProgram
    }

    /// Our end of the stream of frames.
    var link: Int32 { linkSocket.number }

    /// Returns true if so much waits for it that it cannot be reading.
    var isDeaf: Bool { stream.queuedBytes > 4 * PeerHeader.largestPayload }

    /// Asks the process to say where it is, and to end.
    func abort(_ reason: String) {
        killReason = reason
        process.abort()
    }

    /// Ends the process; its end is learned from the process's handle.
    func end(_ reason: String) {
        killReason = reason
        process.kill()
    }

    /// Collects the process if it has ended; nil while it runs.
    func reaped() -> WorkerEnd? {
        process.reap().map { WorkerEnd($0, killedBecause: killReason) }
    }
}

/// How a worker's process ended.
struct WorkerEnd: CustomStringConvertible {
    let description: String
    /// Whether somebody else killed it: that says nothing about what it was handling.
    let isKilledByOthers: Bool
    /// Whether it ended because it cannot use its configuration.
    let isBadConfiguration: Bool

    init(_ end: ProcessEnd, killedBecause reason: String?) {
        isKilledByOthers = reason == nil && (end == .killed(signal: 9) || end == .unknown)
        isBadConfiguration = end == .exited(code: BirthContract.exitCodeOfBadConfiguration)
        description =
            if let reason {
                "killed: \(reason)"
            } else {
                switch end {
                case .exited(let code): "exit \(code)"
                case .killed(let signal): "crash: signal \(signal)"
                case .unknown: "ended while another process supervised it"
                }
            }
    }

    /// A worker that could not be started, or that was never there.
    init(_ description: String) {
        self.description = description
        isKilledByOthers = false
        isBadConfiguration = false
    }
}
