import Foundation
import FuzzTargets
import Testing

/// What the fuzzer has found, and what it began with, is read or refused, and never ends the process.
@Suite struct CorpusTests {
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
    func `whatever stands in an input that is cut or changed, it is read or refused`(_ target: FuzzTarget) throws {
        let folder = Self.corpus.appendingPathComponent(target.rawValue)
        var generator = SystemRandomNumberGenerator()
        for file in try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted().prefix(64) {
            let bytes = Array(try Data(contentsOf: folder.appendingPathComponent(file)))
            guard !bytes.isEmpty, bytes.count < 4096 else { continue }
            for _ in 0..<8 {
                var changed = Array(bytes.prefix(Int.random(in: 1...bytes.count, using: &generator)))
                let place = Int.random(in: 0..<changed.count, using: &generator)
                changed[place] = UInt8.random(in: 0...255, using: &generator)
                target.run(changed)
            }
        }
    }
}
