// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletCore
import MartletWire
import Testing

@Suite struct DeflateTests {
    private let deflate: MessageDeflate

    init() throws { deflate = try #require(MessageDeflate()) }

    private func compress(_ bytes: [UInt8], window: Int = 15) -> [UInt8]? {
        var target = [UInt8](repeating: 0, count: bytes.count)
        let length = bytes.withUnsafeBytes { source in
            target.withUnsafeMutableBytes { deflate.compress(source, window: window, into: $0) }
        }
        return length.map { Array(target[..<$0]) }
    }

    private func expand(_ bytes: [UInt8], maximum: Int) throws -> [UInt8] {
        try bytes.withUnsafeBytes { Array(try deflate.expand($0, maximum: maximum)) }
    }

    @Test(arguments: [1, 100, 16384, 16385, 65536, 300_000, 1_048_576])
    func `messages of any size come back unchanged, one after another`(count: Int) throws {
        for kind in 0..<3 {
            let bytes: [UInt8] = (0..<count).map { index in
                kind == 0 ? 0x61 : kind == 1 ? UInt8(index % 251) : UInt8(truncatingIfNeeded: index &* index >> 3)
            }
            guard let packed = compress(bytes) else { continue }
            #expect(packed.count < bytes.count)
            #expect(try expand(packed, maximum: count) == bytes)
            #expect(throws: MessageDeflate.Failure.tooLarge) { try expand(packed, maximum: count - 1) }
        }
    }

    @Test func `a message that would not become shorter is not compressed`() {
        var generator = SystemRandomNumberGenerator()
        let noise = (0..<1000).map { _ in UInt8.random(in: 0...255, using: &generator) }
        #expect(compress(noise) == nil)
        #expect(compress([]) == nil)
    }

    @Test func `a bomb is found out at its bound`() throws {
        let bomb = try #require(compress([UInt8](repeating: 0, count: 4_000_000)))
        #expect(bomb.count < 20_000)
        #expect(throws: MessageDeflate.Failure.tooLarge) { try expand(bomb, maximum: 100_000) }
        #expect(try expand(bomb, maximum: 4_000_000).count == 4_000_000)
    }

    @Test func `the examples of RFC 7692 are read`() throws {
        #expect(try expand([0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00], maximum: 100) == Array("Hello".utf8))
        // Without compression, with a final block, and in two blocks (7.2.3.3 to 7.2.3.5).
        let plain: [UInt8] = [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00]
        #expect(try expand(plain, maximum: 100) == Array("Hello".utf8))
        #expect(try expand([0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00], maximum: 100) == Array("Hello".utf8))
        let blocks: [UInt8] = [0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00]
        #expect(try expand(blocks, maximum: 100) == Array("Hello".utf8))
    }

    @Test func `random bytes are refused or read, and never trap`() {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0..<50, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            _ = try? expand(bytes, maximum: 10_000)
        }
    }

    @Test(arguments: [
        ("permessage-deflate", true), ("permessage-deflate; client_max_window_bits", true),
        ("permessage-deflate; client_max_window_bits=10; server_no_context_takeover", true),
        ("permessage-deflate; server_max_window_bits=15", true),
        ("permessage-deflate; server_max_window_bits=10", true), ("permessage-deflate; server_max_window_bits=8", true),
        ("permessage-deflate; server_max_window_bits=\"9\"", true),
        ("permessage-deflate; server_max_window_bits", false),
        ("permessage-deflate; server_max_window_bits=7", false),
        ("permessage-deflate; server_max_window_bits=16", false),
        ("permessage-deflate; server_max_window_bits=09", false),
        ("permessage-deflate; client_max_window_bits=08", false),
        ("permessage-deflate; unknown", false), ("permessage-deflate; client_max_window_bits=99", false),
        ("permessage-deflate; server_no_context_takeover=1", false), ("x-webkit-deflate-frame", false), ("", false),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", false),
    ])
    func `an offer is accepted if it can be kept`(offer: String, isTaken: Bool) {
        #expect((DeflateExtension(offers: [offer]) != nil) == isTaken)
        #expect(DeflateExtension(offers: [offer, "permessage-deflate"]) != nil)
    }

    @Test(arguments: [
        ("permessage-deflate", 15, ""), ("permessage-deflate; client_max_window_bits=9", 15, ""),
        ("permessage-deflate; server_max_window_bits=15", 15, "; server_max_window_bits=15"),
        ("permessage-deflate; server_max_window_bits=8", 8, "; server_max_window_bits=8"),
        ("permessage-deflate; server_max_window_bits=\"12\"", 12, "; server_max_window_bits=12"),
    ])
    func `a window that is asked for is named in the answer, and no other`(offer: String, window: Int, end: String) {
        let agreed = DeflateExtension(offers: [offer, "permessage-deflate"])
        let start = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        #expect(agreed?.window == window && agreed?.answer == start + end)
    }

    @Test(arguments: [8, 9, 12, 15])
    func `no distance is longer than the window that was asked for`(window: Int) throws {
        // Data that repeat just within the window, just outside of it, and far outside.
        for distance in [1 << window - 300, 1 << window + 1, 40_000] where distance > 0 {
            var generator = SystemRandomNumberGenerator()
            let noise = (0..<distance).map { _ in UInt8.random(in: 0x61...0x7A, using: &generator) }
            let bytes = noise + noise + noise
            let packed = try #require(compress(bytes, window: window))
            #expect(try SmallWindow.expand(packed, window: window) == bytes)
        }
    }
}

/// An inflater that remembers no more than a window, like that of a small client: Python's zlib.
private enum SmallWindow {
    static func expand(_ packed: [UInt8], window: Int) throws -> [UInt8] {
        let script = """
            import sys, zlib
            inflater = zlib.decompressobj(-int(sys.argv[1]))
            rest, data = sys.stdin.buffer.read() + bytes([0, 0, 255, 255]), b""
            # A byte at a time: nothing but the window is there to be referred to.
            while piece := inflater.decompress(rest, 1):
                data, rest = data + piece, inflater.unconsumed_tail
            sys.stdout.buffer.write(data)
            """
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
        process.arguments = ["-c", script, "\(window)"]
        let (input, output) = (Pipe(), Pipe())
        (process.standardInput, process.standardOutput) = (input, output)
        try process.run()
        input.fileHandleForWriting.write(Data(packed))
        try input.fileHandleForWriting.close()
        let data = try output.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return Array(data)
    }
}
