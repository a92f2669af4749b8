// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletLinux
import Synchronization
import Testing

@Suite(.serialized) struct KeeperTests {
    @Test func `a keeper that was started runs, and has said who it is`() throws {
        for _ in 0..<20 { try withKeeper { _ in } }
    }

    @Test func `sockets that are closed while the keeper sends keep no other from arriving`() throws {
        let stays = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { closeDescriptor(stays) }
        let busy = Busy()
        ThreadStarter.start { busy.run() }
        defer { busy.stop() }
        try withKeeper { estate in
            for _ in 0..<500 {
                let (received, sent) = try collect(estate)
                try #require(received == sent && received > 0)
            }
        }
    }

    /// Runs something with a keeper of this process, which has ended afterwards.
    private func withKeeper(_ body: (KeeperChannel) throws -> Void) throws {
        let (ours, theirs) = try SocketPair(.packets).split()
        // While the keeper lives, which has our table, its number must not be another's.
        defer { closeDescriptor(theirs) }
        try #require(Keeper.start(channel: theirs))
        let estate = KeeperChannel(owning: ours)
        guard case .born(let pid)? = try estate.next(), let keeper = WatchedProcess(pid: pid) else {
            estate.dismiss()
            throw SystemCallError("keeper", EPROTO)
        }
        defer {
            estate.dismiss()
            var end = pollfd(fd: keeper.handle, events: Int16(POLLIN), revents: 0)
            #expect(poll(&end, 1, 5000) == 1, "the keeper ends")
        }
        try body(estate)
    }

    /// A worker that opens and closes sockets.
    private final class Busy: Sendable {
        private let isDone = Mutex(false)
        private let end = DispatchSemaphore(value: 0)

        func run() {
            while !isDone.withLock({ $0 }) {
                let sockets = (0..<4).map { _ in socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) }
                sockets.forEach { close($0) }
            }
            end.signal()
        }

        /// Returns when it opens nothing any more: others count this process's descriptors.
        func stop() {
            isDone.withLock { $0 = true }
            end.wait()
        }
    }

    private func collect(_ estate: KeeperChannel) throws -> (received: Int, sent: Int) {
        try #require(estate.askSockets())
        var received = 0
        while true {
            switch try #require(try estate.wait(milliseconds: 5000)) {
            case .sockets(let descriptors):
                received += descriptors.count
                descriptors.forEach(closeDescriptor)
            case .end(let sent): return (received, sent)
            case .born, .count: continue
            }
        }
    }
}
