// SPDX-License-Identifier: Apache-2.0

import Foundation
import FuzzTargets
import Testing

/// The inputs that the fuzzer has found, and those that it began with, are read or refused, and never end the process.
@Suite(.serialized) struct CorpusTests {
    private static let corpus = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Corpus")

    @Test(arguments: FuzzTarget.allCases)
    func `every input that the fuzzer has kept is read or refused`(_ target: FuzzTarget) throws {
        let folder = Self.corpus.appendingPathComponent(target.rawValue)
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        #expect(!files.isEmpty, "there is nothing to begin with")
        for file in files { target.run(Array(try Data(contentsOf: folder.appendingPathComponent(file)))) }
    }

    @Test(arguments: FuzzTarget.allCases)
    func `every input that is cut off or changed is read or refused`(_ target: FuzzTarget) throws {
        let folder = Self.corpus.appendingPathComponent(target.rawValue)
        // These are the same in every run; an input that ends the process is in the file that is written before the
        // attempt.
        var generator = Steady(state: 1)
        let tried = FileManager.default.temporaryDirectory.appendingPathComponent("martlet-tried-\(target.rawValue)")
        defer { try? FileManager.default.removeItem(at: tried) }
        for file in try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted().prefix(64) {
            let bytes = Array(try Data(contentsOf: folder.appendingPathComponent(file)))
            guard !bytes.isEmpty, bytes.count < 4096 else { continue }
            for _ in 0..<8 {
                var changed = Array(bytes.prefix(Int.random(in: 1...bytes.count, using: &generator)))
                let place = Int.random(in: 0..<changed.count, using: &generator)
                changed[place] = UInt8.random(in: 0...255, using: &generator)
                try Data(changed).write(to: tried)
                target.run(changed)
            }
        }
    }

    /// Numbers that look random (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators).
    private struct Steady: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }
}
