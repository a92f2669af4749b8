// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

extension TestServer {
    /// Gives orders to the service, one after another; `["kill"]` kills all workers, and waits for the next ones.
    func undergo(_ orders: [[String]]) async throws {
        for order in orders {
            if order == ["kill"] {
                let before = try await statistics().shards
                for shard in before { kill(shard.pid, SIGKILL) }
                try await waitForStatistics("the next workers") { now in
                    now.shards.allSatisfy { $0.state == "serving" && $0.generation > before[0].generation }
                }
            } else {
                let run = try await control(order)
                #expect(run.code == 0, "\(order): \(run.error)")
            }
        }
    }
}
