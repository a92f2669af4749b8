// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletCore
import MartletLinux
import MartletWire
import ScriptedKernel
import Testing

@testable import MartletWorker

/// What the kernel may answer to any call of a socket table: the client's streams stay whole, and no connection is lost for it.
@Suite(.serialized) struct ScriptedSocketTableTests {
    private static let texts = (0..<12).map { String(repeating: "\($0 % 10)", count: 1 + 37 * $0) }

    private static let stream: [UInt8] = texts.flatMap { text -> [UInt8] in
        let count = text.utf8.count
        let head: [UInt8] = count < 126 ? [0x81, UInt8(count)] : [0x81, 126, UInt8(count >> 8), UInt8(count & 255)]
        return head + Array(text.utf8)
    }

    /// Lets the calls before `failing` go on, and then these outcomes be, alternately failing and short.
    private func script(_ calls: [scripted_call], after failing: Int, _ error: Int32, short: Int) {
        for call in calls {
            for _ in 0..<failing { scripted_add(Int32(call.rawValue), 0, -1) }
            for _ in 0..<6 {
                if error != 0 { scripted_add(Int32(call.rawValue), error, -1) }
                scripted_add(Int32(call.rawValue), 0, short)
            }
        }
    }

    @Test(arguments: [0, EAGAIN, EINTR, ENOBUFS, ENOMEM])
    func `whatever a write does at any call, the client reads the same bytes`(error: Int32) throws {
        for failing in 0..<6 {
            for short in [1, 3, 300] {
                scripted_clear()
                let fixture = try Fixture()
                let (slot, client) = try fixture.connect()
                script([SCRIPTED_SEND, SCRIPTED_SENDMSG], after: failing, error, short: short)
                defer { scripted_clear() }
                for text in Self.texts {
                    #expect(try fixture.send([text], to: slot) == [.queued])
                    fixture.table.flushDirty()
                }
                // Epoll would report the socket as writable again and again.
                for _ in 0..<200 where fixture.table.queuedBytes > 0 { fixture.table.flush(slot) }
                #expect(fixture.table.queuedBytes == 0 && !fixture.table.locals[slot].isGone)
                var bytes: [UInt8] = []
                while bytes.count < Self.stream.count {
                    bytes += try BlockingStream.read(client.number, atMost: 65536)
                }
                #expect(bytes == Self.stream, "\(failing) \(short)")
            }
        }
    }

    @Test(arguments: [0, EAGAIN, EINTR, ENOBUFS, ENOMEM])
    func `whatever a read does at any call, the client's messages are the same`(error: Int32) throws {
        let bytes = Self.texts.flatMap { frame(1, Array($0.utf8)) }
        for failing in 0..<4 {
            for short in [1, 2, 100] {
                scripted_clear()
                let fixture = try Fixture()
                let (slot, client) = try fixture.connect()
                try BlockingStream.write(client.number, bytes)
                script([SCRIPTED_RECV], after: failing, error, short: short)
                defer { scripted_clear() }
                var received: [String] = []
                for _ in 0..<100 where received.count < Self.texts.count { received += fixture.receive(slot) }
                #expect(received == Self.texts, "\(failing) \(short)")
                #expect(!fixture.table.locals[slot].isGone)
            }
        }
    }

    @Test(arguments: [ECONNRESET, EPIPE, ETIMEDOUT])
    func `a connection that is broken is let go of, once`(error: Int32) throws {
        scripted_clear()
        let fixture = try Fixture()
        let (slot, client) = try fixture.connect()
        defer { scripted_clear() }
        for call in [SCRIPTED_SEND, SCRIPTED_SENDMSG] { scripted_add(Int32(call.rawValue), error, -1) }
        #expect(try fixture.send(["x"], to: slot) == [.queued])
        fixture.table.flushDirty()
        #expect(fixture.table.locals[slot].isGone)
        client.close()
    }
}
