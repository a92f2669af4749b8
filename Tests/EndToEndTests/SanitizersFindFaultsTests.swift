// SPDX-License-Identifier: Apache-2.0

import Support
import Testing

/// The sanitizers check workers in their sandbox too: a planted fault is found.
@Suite(.enabled(if: Sanitizer.present == .address)) struct SanitizersFindFaultsTests {
    @Test func `a worker that reads beyond its memory is found by AddressSanitizer`() async throws {
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
