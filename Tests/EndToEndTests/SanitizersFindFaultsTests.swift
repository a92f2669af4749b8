import Support
import Testing

/// The sanitizers see what workers do, in their sandbox, too: a fault that is planted there is found.
@Suite(.enabled(if: Sanitizer.present == .address)) struct SanitizersFindFaultsTests {
    @Test func `a worker that reads behind its memory is found by AddressSanitizer`() async throws {
        let faults = Faults()
        try faults.plan("message overrun 1 1 overrun")
        try await TestServer.with(workers: 1, environment: ["MARTLET_FAULTS": faults.path]) { server in
            let clients = try WebSocketClients()
            try await clients.open([("a", server.webSocket("alice"))])
            clients.send("a", "{\"type\":\"overrun\"}")
            try await server.log(with: "AddressSanitizer: heap-buffer-overflow")
        }
        faults.remove()
    }
}
