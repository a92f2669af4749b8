// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletLinux
import MartletWire
import Testing

@testable import MartletWorker

/// Who is let in, as what, and what a refusal says.
@Suite(.serialized) struct GatekeeperTests {
    private final class Fixture {
        let memory: UnsafeMutableRawBufferPointer
        var gatekeeper: Gatekeeper
        private let ends: (Int32, Int32)

        init(_ change: (inout Configuration) -> Void = { _ in }) async throws {
            var configuration = Configuration()
            configuration.client.allowedOrigins = ["https://example.org"]
            change(&configuration)
            var secrets = BirthContract.Secrets()
            secrets.hmac = Array(repeating: 7, count: 48)
            secrets.apiKeys = [Array("first".utf8), Array("second".utf8)]
            let contract = BirthContract(
                shard: 0,
                generation: 1,
                map: ShardMap(shardCount: 1),
                clientListeners: 1,
                apiListeners: 1,
                configuration: configuration,
                secrets: secrets,
                addressKey: 5
            )
            memory = .allocate(byteCount: NodeBoard.byteCount(shards: 1, places: 64), alignment: 4096)
            memory.initializeMemory(as: UInt8.self, repeating: 0)
            gatekeeper = Gatekeeper(contract, board: try NodeBoard(formatting: memory, shards: 1, places: 64))
            gatekeeper.keys = try await KeyRing(secrets)
            ends = try SocketPair(.stream).split()
        }

        deinit {
            closeDescriptor(ends.0)
            closeDescriptor(ends.1)
            memory.deallocate()
        }

        /// A request as it is read from the wire.
        func request(_ path: String = "/ws", _ fields: [String] = []) throws -> HTTPRequest {
            var exchange = HTTPExchange(limits: .init(bodyBytes: 0, takesStreams: false))
            let lines = ["GET \(path) HTTP/1.1", "Host: example.org"] + fields
            exchange.input = Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
            guard case .request(let request, _, _) = exchange.next() else { throw HTTPProblem.notFound }
            return request
        }

        func token(seconds: Int = 60, threads: [String] = []) throws -> String {
            try #require(gatekeeper.makeToken(user: "u", seconds: seconds, threads: threads, jobs: ["j"]))
        }

        func bearer(_ request: HTTPRequest) -> Result<Bearer, HTTPProblem> {
            do throws(HTTPProblem) {
                return .success(try gatekeeper.bearer(of: request, from: gatekeeper.caller(of: request, from: nil)))
            } catch {
                return .failure(error)
            }
        }
    }

    private func code(_ result: Result<Bearer, HTTPProblem>) -> String? {
        if case .failure(let problem) = result { return problem.code }
        return nil
    }

    @Test func `a token comes in a field, or as a subprotocol, and in the address only where that is allowed`()
        async throws
    {
        let fixture = try await Fixture()
        let token = try fixture.token()
        for fields in [["Authorization: Bearer \(token)"], ["Sec-WebSocket-Protocol: chat, bearer.\(token)"]] {
            let bearer = try fixture.bearer(fixture.request("/ws", fields)).get()
            #expect(bearer.user == "u" && bearer.jobs == ["j"] && bearer.expiresAt > 0)
        }
        #expect(code(fixture.bearer(try fixture.request("/ws?token=\(token)"))) == TokenProblem.missing.code)
        let lenient = try await Fixture { $0.client.tokenInQuery = true }
        #expect(try lenient.bearer(lenient.request("/ws?token=\(lenient.token())")).get().user == "u")
    }

    @Test func `without a token, or with a bad one, nobody comes in, and a name is no token`() async throws {
        let fixture = try await Fixture()
        #expect(code(fixture.bearer(try fixture.request())) == TokenProblem.missing.code)
        #expect(code(fixture.bearer(try fixture.request("/ws?user=u"))) == TokenProblem.missing.code)
        #expect(code(fixture.bearer(try fixture.request("/ws", ["Authorization: Bearer x.y.z"]))) != nil)
        let expired = try fixture.token(seconds: -60)
        #expect(
            code(fixture.bearer(try fixture.request("/ws", ["Authorization: Bearer \(expired)"])))
                == TokenProblem.expired.code
        )
    }

    @Test func `a client joins the rooms that its token names, and no others`() async throws {
        let fixture = try await Fixture()
        let field = "Authorization: Bearer \(try fixture.token(threads: ["t"]))"
        #expect(try fixture.bearer(fixture.request("/ws?thread_id=t", [field])).get().thread == "t")
        #expect(code(fixture.bearer(try fixture.request("/ws?thread_id=other", [field]))) == "thread_not_allowed")
        #expect(code(fixture.bearer(try fixture.request("/ws?job_id=other", [field]))) == "job_not_allowed")
        #expect(code(fixture.bearer(try fixture.request("/ws?thread_id=t&thread_id=t", [field]))) != nil)
    }

    @Test func `pages of other sites do not connect`() async throws {
        let fixture = try await Fixture()
        for (origin, isAllowed) in [("https://example.org", true), ("https://evil.example", false), ("null", false)] {
            let request = try fixture.request("/ws", ["Origin: \(origin)"])
            #expect(((try? fixture.gatekeeper.checkOrigin(request)) != nil) == isAllowed, "\(origin)")
        }
        #expect((try? fixture.gatekeeper.checkOrigin(fixture.request())) != nil, "a program is no page")
    }

    @Test func `a backend brings one of the keys, or is trusted by its socket`() async throws {
        let fixture = try await Fixture()
        func problem(_ fields: [String], isTrusted: Bool = false) throws -> String? {
            let request = try fixture.request("/v1/stats", fields)
            do throws(HTTPProblem) {
                try fixture.gatekeeper.checkBackend(request, isTrusted: isTrusted)
                return nil
            } catch {
                return error.code
            }
        }
        #expect(try problem([]) == "key_missing" && problem([], isTrusted: true) == nil)
        #expect(try problem(["Authorization: Bearer second"]) == nil)
        for key in ["third", "secon", "secondd", "", "SECOND"] {
            #expect(try problem(["Authorization: Bearer \(key)"]) == "key_wrong", "\(key)")
        }
        #expect(try problem(["Authorization: Basic second"]) == "key_missing")
    }

    @Test func `handshakes are admitted up to their rate`() async throws {
        let fixture = try await Fixture { $0.limits.handshakesPerSecond = 1 }
        var admitted = 0
        while admitted < 1000, (try? fixture.gatekeeper.admitHandshake()) != nil { admitted += 1 }
        #expect((50...52).contains(admitted), "as many as one page opens")
        let unlimited = try await Fixture { $0.limits.handshakesPerSecond = 0 }
        for _ in 0..<1000 { try unlimited.gatekeeper.admitHandshake() }
    }
}
