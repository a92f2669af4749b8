// SPDX-License-Identifier: Apache-2.0

internal import Foundation
internal import NIOCore

extension Measurement {
    /// Returns the workers that the server has; none if it cannot say so now.
    func workers() -> [Disturbance.Worker] {
        let promise = loop.makePromise(of: String.self)
        let connected = try? publisher()
        loop.execute {
            guard let publisher = connected?.value else { return promise.succeed("") }
            publisher.get("/v1/stats") { _, body in
                promise.succeed(body)
                publisher.close()
            }
        }
        let body = (try? promise.futureResult.wait()) ?? ""
        guard let json = try? JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any],
            let shards = json["shards"] as? [[String: Any]]
        else { return [] }
        return shards.compactMap { shard in
            guard let number = shard["shard"] as? Int, let pid = shard["pid"] as? Int,
                let generation = shard["generation"] as? Int, shard["state"] as? String == "serving"
            else { return nil }
            let restart = shard["last_restart"] as? [String: Any]
            let unrecorded = restart?["positions_unrecorded"] as? Int ?? 0
            return .init(shard: number, pid: Int32(pid), generation: generation, unrecorded: unrecorded)
        }
    }
}
