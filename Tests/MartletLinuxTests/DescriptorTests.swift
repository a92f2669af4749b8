// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletLinux
import Testing

/// Starts threads without a hop through Foundation's run loops.
enum ThreadStarter {
    static func start(_ body: @escaping @Sendable () -> Void) { Thread.detachNewThread(body) }
}

private func isOpen(_ descriptor: Int32) -> Bool { fcntl(descriptor, F_GETFD) >= 0 }

@Suite(.serialized) struct OwnedDescriptorTests {
    @Test func `a descriptor is closed exactly when the lifetime of its owner ends`() throws {
        let (one, two) = try SocketPair(.stream).split()
        do {
            let owned = OwnedDescriptor(owning: one)
            #expect(isOpen(owned.number))
        }
        #expect(!isOpen(one))
        let released = OwnedDescriptor(owning: two).release()
        #expect(isOpen(released))
        closeDescriptor(released)
    }
}

@Suite struct CreditWindowTests {
    @Test func `nothing is sent beyond what was granted, and grants come in batches`() {
        var window = CreditWindow(size: 8)
        expect(!window.spend(1))
        window.granted(3)
        expect(window.spend(2) && !window.spend(2) && window.spend(1))
        expect(window.took(1) == 0)
        expect(window.took(1) == 2, "a quarter of the window is worth a packet")
    }
}

@Suite(.serialized) struct DescriptorChannelTests {
    private func pair(window: Int = 8, bound: Int = 100) throws -> (DescriptorChannel, DescriptorChannel) {
        let (one, two) = try SocketPair(.packets).split()
        return (
            DescriptorChannel(owning: one, window: window, bound: bound),
            DescriptorChannel(owning: two, window: window, bound: bound)
        )
    }

    private func anyDescriptor() -> Int32 { open("/dev/null", O_RDONLY | O_CLOEXEC) }

    @Test func `a grant with a descriptor, which none of our peers sends, leaves no descriptor in our table`() throws {
        let (one, two) = try SocketPair(.packets).split()
        defer { closeDescriptor(two) }
        let channel = DescriptorChannel(owning: one, window: 8, bound: 100)
        let tether = Tether(owning: fcntl(two, F_DUPFD_CLOEXEC, 0))
        let passed = anyDescriptor()
        defer { closeDescriptor(passed) }
        let before = CurrentProcess.openDescriptors
        for _ in 0..<50 {
            // The tether's messages have one byte, so they count as packets; a grant has five bytes.
            try #require(tether.send([passed]))
            try #require(sendGrant(two, passed: passed))
        }
        while let packet = channel.receive() { packet.descriptor.map(closeDescriptor) }
        #expect(CurrentProcess.openDescriptors == before)
    }

    /// Sends five bytes that look like a grant, with a descriptor.
    private func sendGrant(_ socket: Int32, passed: Int32) -> Bool {
        var bytes: [UInt8] = [0xFF, 0, 0, 0, 1]
        var control = [UInt8](repeating: 0, count: 24)
        return bytes.withUnsafeMutableBytes { data in
            control.withUnsafeMutableBytes { header in
                header.storeBytes(of: 20, as: Int.self)  // cmsg_len
                header.storeBytes(of: Int32(SOL_SOCKET), toByteOffset: 8, as: Int32.self)
                header.storeBytes(of: Int32(SCM_RIGHTS), toByteOffset: 12, as: Int32.self)
                header.storeBytes(of: passed, toByteOffset: 16, as: Int32.self)
                var part = iovec(iov_base: data.baseAddress, iov_len: data.count)
                return withUnsafeMutablePointer(to: &part) { part in
                    var message = msghdr()
                    message.msg_iov = part
                    message.msg_iovlen = 1
                    message.msg_control = header.baseAddress
                    message.msg_controllen = header.count
                    return sendmsg(socket, &message, 0) == 5
                }
            }
        }
    }

    @Test func `a packet arrives whole with its descriptor, and the sender's number is closed`() throws {
        let (one, two) = try pair()
        #expect(one.receive() == nil && two.receive() == nil)  // the grants
        let sent = anyDescriptor()
        try one.send([1, 2, 3], descriptor: sent)
        #expect(!isOpen(sent))
        let packet = try #require(two.receive())
        #expect(packet.bytes == [1, 2, 3])
        let received = try #require(packet.descriptor)
        #expect(isOpen(received) && fcntl(received, F_GETFD) == FD_CLOEXEC)
        closeDescriptor(received)
        try one.send([], descriptor: nil)
        #expect(two.receive()?.bytes == [])
    }

    @Test func `without credit packets wait in order, up to the bound, and leave when credit comes`() throws {
        let (one, two) = try pair(window: 4, bound: 6)
        _ = one.receive()
        for number in 0..<10 { try one.send([UInt8(number)], descriptor: anyDescriptor()) }
        #expect(one.queued == 6)
        let kept = anyDescriptor()
        #expect(throws: DescriptorChannel.Refusal.full) { try one.send([99], descriptor: kept) }
        #expect(isOpen(kept) && one.refused == 1, "a refused descriptor stays with the caller")
        closeDescriptor(kept)
        var arrived: [UInt8] = []
        for _ in 0..<20 {
            while let packet = two.receive() {
                arrived += packet.bytes
                packet.descriptor.map(closeDescriptor)
            }
            two.flush()
            _ = one.receive()
            one.flush()
        }
        #expect(arrived == Array(0..<10))
        #expect(!one.wantsToWrite)
    }

    @Test func `descriptors that still wait when a channel ends are closed with it`() throws {
        var waiting: Int32 = -1
        do {
            let (one, _) = try pair(window: 1)
            waiting = anyDescriptor()
            try one.send([1], descriptor: waiting)  // it waits, because no grant was received
            #expect(one.queued == 1 && isOpen(waiting))
        }
        #expect(!isOpen(waiting))
    }

    @Test func `two ends that both wait for credit do not wait forever`() throws {
        let (one, two) = try pair(window: 4, bound: 100)
        _ = (one.receive(), two.receive())
        for number in 0..<50 {
            try one.send([UInt8(number)], descriptor: anyDescriptor())
            try two.send([UInt8(number)], descriptor: anyDescriptor())
        }
        expect(!one.wantsToWrite && !two.wantsToWrite, "a socket with room is no use to who waits for credit")
        var arrived = 0
        for _ in 0..<60 {
            for channel in [one, two] {
                while let packet = channel.receive() {
                    packet.descriptor.map(closeDescriptor)
                    arrived += 1
                }
                channel.flush()
            }
        }
        #expect(arrived == 100)
    }

    @Test func `a full descriptor table loses a packet's client and nothing else`() throws {
        let (one, two) = try pair()
        _ = (one.receive(), two.receive())
        try one.send([1], descriptor: anyDescriptor())
        try one.send([2], descriptor: nil)
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let before = limit.rlim_cur
        limit.rlim_cur = 3
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        let next = two.receive()
        limit.rlim_cur = before
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        #expect(next?.bytes == [2] && two.lost == 1)
    }

    @Test func `the peer's end closes the channel`() throws {
        let (one, two) = try SocketPair(.packets).split()
        let channel = DescriptorChannel(owning: one, window: 4, bound: 4)
        closeDescriptor(two)
        #expect(channel.receive() == nil)
        #expect(channel.isClosed)
        #expect(throws: DescriptorChannel.Refusal.closed) { try channel.send([1], descriptor: nil) }
    }

    @Test func `what a peer sent before it went arrives, although it has not read what we sent`() throws {
        let (one, two) = try SocketPair(.packets).split()
        let channel = DescriptorChannel(owning: one, window: 2, bound: 4)
        let peer = DescriptorChannel(owning: two, window: 4, bound: 4)
        _ = peer.receive()
        let before = CurrentProcess.openDescriptors
        for number: UInt8 in 1...2 { try peer.send([number], descriptor: anyDescriptor()) }
        // The kernel reports ECONNRESET for this, once, and before the packets that wait.
        try channel.send([9], descriptor: nil)
        end(peer)
        #expect(throws: DescriptorChannel.Refusal.closed) { try channel.send([9], descriptor: nil) }
        channel.flush()
        var arrived: [UInt8] = []
        while let packet = channel.receive() {
            arrived += packet.bytes
            packet.descriptor.map(closeDescriptor)
            // Grants cannot be sent any more; packets that had already arrived are still there.
            channel.flush()
        }
        #expect(arrived == [1, 2] && channel.isClosed)
        #expect(CurrentProcess.openDescriptors == before)
    }

    /// Closes the peer's end of the channel, as if its process had ended, whoever else holds the object.
    private func end(_ channel: DescriptorChannel) {
        let nowhere = open("/dev/null", O_RDONLY | O_CLOEXEC)
        dup2(nowhere, channel.descriptor)
        close(nowhere)
    }

    @Test func `a packet that is too large is refused, and one of the largest size passes`() throws {
        let (one, two) = try pair()
        let largest = [UInt8](repeating: 7, count: DescriptorChannel.largestPacket)
        try one.send(largest, descriptor: nil)
        #expect(two.receive()?.bytes == largest)
        #expect(throws: DescriptorChannel.Refusal.tooLarge) { try one.send(largest + [1], descriptor: nil) }
    }
}

@Suite struct SharedMemoryTests {
    @Test func `memory that others also hold keeps its size, and can be written`() throws {
        let memory = try SharedMemory.fixed(name: "test", byteCount: 1 << 20)
        for size in [0, 4096, 1 << 21] { #expect(ftruncate(memory.number, size) == -1 && errno == EPERM) }
        let mapping = try MemoryMapping(of: memory.number)
        mapping.bytes[(1 << 20) - 1] = 7
        #expect(mapping.bytes.count == 1 << 20 && SharedMemory.isFixed(memory.number))
        // Nobody can forbid writing (F_ADD_SEALS with F_SEAL_FUTURE_WRITE).
        #expect(fcntl(memory.number, 1033, 0x10) == -1 && errno == EPERM)
        mapping.discard(offset: 0, count: 1 << 20)
        #expect(mapping.bytes[(1 << 20) - 1] == 0)
        #expect(!SharedMemory.isFixed(try SharedMemory.create(name: "test", byteCount: 100).number))
    }

    @Test func `one mapping reads what another one writes, and a discarded range is zero`() throws {
        let memory = try SharedMemory.create(name: "test", byteCount: 1 << 20)
        let one = try MemoryMapping(of: memory.number)
        let two = try MemoryMapping(of: memory.number)
        one.bytes[5000] = 42
        one.bytes[900_000] = 43
        #expect(two.bytes[5000] == 42)
        one.discard(offset: 4096, count: 4096)
        #expect(two.bytes[5000] == 0 && two.bytes[900_000] == 43)
    }

    @Test func `a sealed region holds its bytes and cannot be written`() throws {
        let sealed = try SharedMemory.sealed(name: "test", bytes: Array(0..<200))
        #expect(try SharedMemory.contents(of: sealed.number, limit: 200) == Array(0..<200))
        #expect(throws: SystemCallError.self) { try SharedMemory.contents(of: sealed.number, limit: 199) }
        #expect(pwrite(sealed.number, "x", 1, 0) == -1)
    }
}

@Suite(.serialized) struct ChildProcessTests {
    private func run(_ script: String, descriptors: [Int32] = []) throws -> ProcessEnd? {
        let child = try ChildProcess(
            path: "/bin/sh",
            arguments: ["-c", script],
            environment: ["A=b"],
            descriptors: descriptors
        )
        var poller = pollfd(fd: child.handle, events: Int16(POLLIN), revents: 0)
        #expect(poll(&poller, 1, 10_000) == 1, "the pidfd tells the end")
        return child.reap()
    }

    @Test func `a child's end is reported, with its code or signal`() throws {
        #expect(try run("exit 3") == .exited(code: 3))
        #expect(try run("kill -9 $$") == .killed(signal: 9))
    }

    @Test func `a child gets its descriptors from 3 on, its environment, and nothing else`() throws {
        let memory = try SharedMemory.create(name: "test", byteCount: 100)
        let script = "set -- /proc/self/fd/*; echo $# $A $(ls /proc/$$/fd | tr '\\n' ' ') >&4"
        let result = try SharedMemory.create(name: "result", byteCount: 0)
        #expect(try run(script, descriptors: [memory.number, result.number]) == .exited(code: 0))
        let text = String(decoding: try SharedMemory.contents(of: result.number, limit: 1000), as: UTF8.self)
        #expect(text.contains(" b 0 1 2 3 4"), "\(text)")
    }

    @Test func `a program that does not exist is an error that names it`() {
        #expect { _ = try ChildProcess(path: "/nowhere", arguments: [], environment: [], descriptors: []) } throws: {
            "\($0)" == "start /nowhere: No such file or directory"
        }
    }
}

@Suite struct ListenAddressTests {
    @Test(
        arguments: [
            ("127.0.0.1:8000", ListenAddress.tcp(address: "127.0.0.1", port: 8000)),
            ("[::1]:80", .tcp(address: "::1", port: 80)),
            ("unix:/run/x.sock", .unix(path: "/run/x.sock")), ("localhost:80", nil), ("1.2.3.4", nil),
            ("1.2.3.4:99999", nil),
            ("unix:relative", nil), (":80", nil), ("", nil),
        ] as [(String, ListenAddress?)]
    )
    func `an address is read, or refused`(text: String, address: ListenAddress?) {
        #expect(ListenAddress(text) == address)
        if let address { #expect("\(address)" == text) }
    }

    @Test func `a stale socket file is replaced, one in use is not`() throws {
        let path = FileManager.default.temporaryDirectory.path + "/martlet-\(UUID().uuidString.prefix(8)).sock"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let first = try Listener.open(.unix(path: path))
        #expect { try Listener.open(.unix(path: path)) } throws: { ($0 as? SystemCallError)?.isAddressInUse == true }
        closeDescriptor(first.descriptor)
        let second = try Listener.open(.unix(path: path))
        #expect(Listener.isListening(second.descriptor))
        closeDescriptor(second.descriptor)
    }

    @Test func `a TCP listener on port 0 says which port it got, and accepts`() throws {
        let (listener, bound) = try Listener.open(.tcp(address: "127.0.0.1", port: 0))
        defer { closeDescriptor(listener) }
        #expect(try Listener.accept(listener) == nil)
        let client = try Listener.connect(to: bound)
        let accepted = try #require(try Listener.accept(listener)).descriptor
        #expect(
            StreamSocket.cookie(accepted) != 0 && StreamSocket.cookie(client.number) != StreamSocket.cookie(accepted)
        )
        closeDescriptor(accepted)
    }
}
