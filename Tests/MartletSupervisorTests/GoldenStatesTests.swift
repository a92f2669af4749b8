// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletCore
import Testing

@testable import MartletSupervisor

/// What the first packages of 0.1.0 write is read, byte for byte as they wrote it: whoever upgrades from them keeps everything.
@Suite struct GoldenStatesTests {
    private func bytes(_ name: String) throws -> [UInt8] {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Golden/\(name)")
        let text = try String(contentsOf: file, encoding: .utf8)
        return [UInt8](try #require(Data(base64Encoded: text, options: .ignoreUnknownCharacters)))
    }

    /// Their counters ended before ours do.
    private func older(_ counters: Counters) -> Counters {
        var counters = counters
        counters[.plannedRestarts] = 0
        for counter in Counter.allCases where counter.rawValue > Counter.httpOther.rawValue { counters[counter] = 0 }
        return counters
    }

    @Test func `a stored state of 0.1.0 is read`() throws {
        var expected = StatesTests.storeState(shards: 2)
        expected.arenaVersion = 6
        for index in expected.shards.indices { expected.shards[index].ledger = older(expected.shards[index].ledger) }
        #expect(try StoreState(bytes("store-state-0.1.0.txt")) == expected)
    }

    @Test func `a supervisor's state of 0.1.0 is read`() throws {
        var expected = StatesTests.supervisorState(workers: 2)
        expected.arenaVersion = 6
        for index in expected.workers.indices {
            expected.workers[index].ledger.counters = older(expected.workers[index].ledger.counters)
        }
        let read = try SupervisorState(bytes("supervisor-state-0.1.0.txt"))
        #expect(read.bytes == expected.bytes)
    }
}
