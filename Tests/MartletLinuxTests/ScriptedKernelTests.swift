// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletLinux
import ScriptedKernel
import Testing

/// What the kernel may answer to any call, at every call: nothing is lost, doubled, leaked, or ended too early.
@Suite(.serialized) struct ScriptedKernelTests {
    private func script(_ call: scripted_call, _ outcomes: [Int32]) {
        for error in outcomes { scripted_add(Int32(call.rawValue), error, -1) }
    }

    private func anyDescriptor() -> Int32 { open("/dev/null", O_RDONLY | O_CLOEXEC) }

    @Test(arguments: [EAGAIN, EINTR, ENOBUFS, ENOMEM, ETOOMANYREFS])
    func `packets that cannot leave at any call wait, and leave in order with their descriptors`(error: Int32) throws {
        for failing in 0..<8 {
            scripted_clear()
            defer { scripted_clear() }
            let (one, two) = try SocketPair(.packets).split()
            let sender = DescriptorChannel(owning: one, window: 16, bound: 16)
            let receiver = DescriptorChannel(owning: two, window: 16, bound: 16)
            #expect(sender.receive() == nil)
            let before = CurrentProcess.openDescriptors
            script(SCRIPTED_SENDMSG, Array(repeating: 0, count: failing) + [error, error])
            var arrived: [UInt8] = []
            for number: UInt8 in 0..<8 {
                try sender.send([number], descriptor: anyDescriptor())
                while let packet = receiver.receive() {
                    arrived += packet.bytes
                    #expect(packet.descriptor != nil)
                    packet.descriptor.map(closeDescriptor)
                }
            }
            for _ in 0..<4 {
                sender.flush()
                while let packet = receiver.receive() {
                    arrived += packet.bytes
                    packet.descriptor.map(closeDescriptor)
                }
            }
            #expect(arrived == Array(0..<8), "\(failing)")
            #expect(CurrentProcess.openDescriptors == before && sender.queued == 0)
        }
    }

    @Test(arguments: [EAGAIN, EINTR, ENOMEM, ENOBUFS, ECONNRESET])
    func `packets that cannot be received at any call are received at the next one`(error: Int32) throws {
        for failing in 0..<4 {
            scripted_clear()
            defer { scripted_clear() }
            let (one, two) = try SocketPair(.packets).split()
            let sender = DescriptorChannel(owning: one, window: 16, bound: 16)
            let receiver = DescriptorChannel(owning: two, window: 16, bound: 16)
            _ = sender.receive()
            for number: UInt8 in 0..<3 { try sender.send([number], descriptor: nil) }
            script(SCRIPTED_RECVMSG, Array(repeating: 0, count: failing) + [error])
            var arrived: [UInt8] = []
            for _ in 0..<3 { while let packet = receiver.receive() { arrived += packet.bytes } }
            #expect(arrived == [0, 1, 2] && !receiver.isClosed, "\(failing)")
        }
    }

    @Test(arguments: [[EAGAIN], [ECONNABORTED, EPROTO, EAGAIN], []])
    func `a client that is gone before it is accepted is passed over, and nobody waits only after all of them`(
        errors: [Int32]
    ) throws {
        scripted_clear()
        defer { scripted_clear() }
        let (listener, bound) = try Listener.open(.tcp(address: "127.0.0.1", port: 0))
        defer { closeDescriptor(listener) }
        let client = try Listener.connect(to: bound)
        script(SCRIPTED_ACCEPT, errors.isEmpty ? [ECONNABORTED, EPROTO] : errors)
        if !errors.isEmpty { #expect(try Listener.accept(listener) == nil) }
        let accepted = try #require(try Listener.accept(listener)).descriptor
        closeDescriptor(accepted)
        _ = client.number
    }

    @Test(arguments: [EMFILE, ENFILE, ENOBUFS, ENOMEM])
    func `where nobody can be accepted for want of something, it is said what, and the client still waits`(
        error: Int32
    ) throws {
        scripted_clear()
        defer { scripted_clear() }
        let (listener, bound) = try Listener.open(.tcp(address: "127.0.0.1", port: 0))
        defer { closeDescriptor(listener) }
        let client = try Listener.connect(to: bound)
        script(SCRIPTED_ACCEPT, [error])
        #expect { _ = try Listener.accept(listener) } throws: { ($0 as? SystemCallError)?.number == error }
        let accepted = try #require(try Listener.accept(listener)).descriptor
        closeDescriptor(accepted)
        _ = client.number
    }

    @Test func `an accept that a signal interrupts is tried again at once`() throws {
        scripted_clear()
        defer { scripted_clear() }
        let (listener, bound) = try Listener.open(.tcp(address: "127.0.0.1", port: 0))
        defer { closeDescriptor(listener) }
        let client = try Listener.connect(to: bound)
        script(SCRIPTED_ACCEPT, [EINTR, EINTR])
        let accepted = try #require(try Listener.accept(listener)).descriptor
        closeDescriptor(accepted)
        _ = client.number
    }

    @Test(arguments: [EAGAIN, EINTR, ENOBUFS, ENOMEM])
    func `a stream that takes nothing now may take something later`(error: Int32) throws {
        scripted_clear()
        defer { scripted_clear() }
        let (one, two) = try SocketPair(.stream).split()
        defer { for end in [one, two] { closeDescriptor(end) } }
        let bytes: [UInt8] = [1, 2, 3]
        script(SCRIPTED_SEND, [error])
        #expect(StreamSocket.send(one, bytes.span) == .wouldBlock)
        #expect(StreamSocket.send(one, bytes.span) == .moved(3))
        var received: [UInt8] = []
        script(SCRIPTED_RECV, [error])
        #expect(StreamSocket.receive(two, appendingTo: &received, room: 10) == .wouldBlock)
        #expect(StreamSocket.receive(two, appendingTo: &received, room: 10) == .moved(3))
    }
}
