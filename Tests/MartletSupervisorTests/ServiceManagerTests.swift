// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletCore
import MartletLinux
import Testing

@testable import MartletSupervisor

/// A service manager that only listens: what a service tells it comes to a socket.
private final class ListeningManager {
    private let socket: Int32
    private let path: String

    init(watchdogMicroseconds: Int? = nil) throws {
        path = FileManager.default.temporaryDirectory.path + "/martlet-notify-\(UUID().uuidString.prefix(8))"
        socket = Glibc.socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | O_NONBLOCK, 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8) + [0]) }
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        try #require(bound == 0)
        setenv("NOTIFY_SOCKET", path, 1)
        if let watchdogMicroseconds {
            setenv("WATCHDOG_USEC", "\(watchdogMicroseconds)", 1)
            setenv("WATCHDOG_PID", "\(getpid())", 1)
        }
    }

    deinit {
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] { unsetenv(name) }
        close(socket)
        unlink(path)
    }

    /// What came since this was asked last, line by line.
    func lines() -> [String] {
        var lines: [String] = []
        var bytes = [UInt8](repeating: 0, count: 65536)
        while true {
            // The descriptors that come with a message are not taken.
            let count = recv(socket, &bytes, bytes.count, 0)
            if count < 0 { return lines }
            lines += String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n").map(String.init)
        }
    }
}

@Suite(.serialized) struct ServiceNotesTests {
    private func service(isWell: Bool = true, isBusy: Bool = false, _ states: ShardState...) -> ServiceNotes.Service {
        let workers = states.enumerated().map { shard, state in
            var statistics = ShardStatistics()
            statistics.shard = shard
            statistics.state = state
            statistics.connections = 3
            return statistics
        }
        return ServiceNotes.Service(isWell: isWell, isBusy: isBusy, workers: workers)
    }

    @Test func `a service that is well feeds its watchdog every third of its time, and one that is not does not`()
        throws
    {
        let manager = try ListeningManager(watchdogMicroseconds: 3_000_000)
        var notes = ServiceNotes()
        notes.tell(service(.serving), now: 1)
        #expect(manager.lines().contains("WATCHDOG=1"))
        let deadline = try #require(notes.deadline)
        #expect(deadline == 1_000_000_001)
        notes.tell(service(.serving), now: 1_000_000_000)
        #expect(manager.lines().isEmpty, "it is not due")
        notes.tell(service(isWell: false, .serving), now: 1_000_000_001)
        #expect(!manager.lines().contains("WATCHDOG=1"))
        notes.tell(service(.serving), now: 2_000_000_001)
        #expect(manager.lines() == ["WATCHDOG=1"])
    }

    @Test func `the status says which shards do not serve, and a busy service asks for more time`() throws {
        let manager = try ListeningManager()
        var notes = ServiceNotes()
        notes.tell(service(.serving, .serving), now: 1)
        #expect(manager.lines() == ["STATUS=2 shards serve 6 connections, 0 messages/s"])
        notes.tell(service(isBusy: true, .serving, .down), now: 5_000_000_001)
        let lines = manager.lines()
        #expect(lines.first == "STATUS=1 of 2 shards serve; shard 1 is down; 6 connections, 0 messages/s")
        #expect(lines.last?.hasPrefix("EXTEND_TIMEOUT_USEC=") == true && lines.count == 2)
        notes.changed()
        notes.tell(service(.serving), now: 5_000_000_002)
        #expect(manager.lines() == ["STATUS=1 shard serves 3 connections, 0 messages/s"])
    }

    @Test func `without a service manager nothing is due`() {
        var notes = ServiceNotes()
        #expect(notes.deadline == nil)
        notes.tell(service(.serving), now: 1)
    }
}

@Suite(.serialized) struct DescriptorStoreTests {
    @Test func `descriptors are stored before the state that names them, and removed after the one that does not`()
        throws
    {
        let manager = try ListeningManager()
        let store = try DescriptorStore()
        #expect(manager.lines() == ["FDSTORE=1", "FDPOLL=0", "FDNAME=state"])
        let memory = try SharedMemory.create(name: "test", byteCount: 10)
        store.keep(["arena-1": memory.number, "board-2": memory.number], StatesTests.storeState(shards: 1))
        #expect(Set(manager.lines()).isSuperset(of: ["FDNAME=arena-1", "FDNAME=board-2"]))
        store.keep(["board-2": memory.number], StatesTests.storeState(shards: 2))
        #expect(manager.lines() == ["FDSTOREREMOVE=1", "FDNAME=arena-1"])
        #expect(Set(store.names) == ["state", "board-2"])
        store.empty()
        #expect(Set(manager.lines()) == ["FDSTOREREMOVE=1", "FDNAME=state", "FDNAME=board-2"])
    }

    @Test func `the last state that was written whole is read, whatever a writer that was killed has left`() throws {
        let store = try DescriptorStore()
        let memory = store.memory.number
        #expect(DescriptorStore.state(in: memory) == nil)
        let states = (1...3).map { StatesTests.storeState(shards: $0) }
        for state in states {
            store.keep([:], state)
            #expect(DescriptorStore.state(in: memory) == state.bytes)
        }
        // The third lies in the second half: damage it byte by byte, as if its writer had been killed.
        for offset in [0, 8, 12, 16, 40] {
            let copy = try SharedMemory.create(name: "copy", byteCount: 2 << 20)
            var bytes = try SharedMemory.contents(of: memory, limit: 2 << 20)
            bytes[(1 << 20) + offset] ^= 0xFF
            try SharedMemory.write(bytes, to: copy.number)
            #expect(DescriptorStore.state(in: copy.number) == states[1].bytes, "offset \(offset)")
        }
        // The next supervisor goes on counting.
        let next = DescriptorStore(memory: try duplicate(memory), names: ["state"])
        next.keep([:], states[0])
        #expect(DescriptorStore.state(in: memory) == states[0].bytes)
    }

    private func duplicate(_ descriptor: Int32) throws -> OwnedDescriptor {
        let copy = dup(descriptor)
        try #require(copy >= 0)
        return OwnedDescriptor(owning: copy)
    }
}
