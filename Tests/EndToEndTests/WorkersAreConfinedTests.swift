import Foundation
import Support
import Testing

/// Who takes a worker over from outside has its connections, and nothing else of the machine.
@Suite struct WorkersAreConfinedTests {
    @Test func `a worker cannot start programs, make sockets or folders, reach or harm other processes, and serves on`()
        async throws
    {
        let faults = Faults()
        try faults.plan("message escape 0 1 escape")
        try await TestServer.with(workers: 1, environment: ["MARTLET_FAULTS": faults.path]) { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice"))])
            clients.send("a", "{\"type\":\"escape\"}")
            #expect(try await clients.messages("a", count: 1).first?.contains("unsupported_type") == true)
            let tried = try await server.log(with: "martlet-worker is kept from", count: 16)
            #expect(tried.count == 16 && tried.allSatisfy { $0.contains("Operation not permitted") }, "\(tried)")
            #expect(await server.log().allSatisfy { !$0.contains("escapes") })
            // The listener was not harmed.
            try await clients.open([("b", server.webSocket("bob"))])
            let shard = try #require(try await server.statistics().shards.first)
            let status = try String(contentsOfFile: "/proc/\(shard.pid)/status", encoding: .utf8)
            #expect(status.contains("Seccomp:\t2\n") && status.contains("NoNewPrivs:\t1\n"))
        }
        faults.remove()
    }
}
