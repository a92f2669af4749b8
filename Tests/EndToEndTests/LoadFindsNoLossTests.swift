// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

@testable import MartletLoad

/// Under load, each numbered message arrives once and in order, as the load generator sees it.
@Suite(.serialized) struct LoadFindsNoLossTests {
    private struct SessionReport: Decodable {
        let cuts: Int
        let stalls: Int
        let resumes: Int
        let resumesRefused: Int
        let held: Int
        let said: Int
        let lost: Int
        let broken: [String]
    }

    private func load(
        _ server: TestServer,
        _ arguments: [String]
    ) async throws -> (
        code: Int32, output: String, error: String
    ) {
        try await Subprocess.run(
            TestServer.binaries + "/martlet-load",
            arguments + ["--client", server.client, "--api", server.api, "--json"]
        )
    }

    @Test(arguments: [
        ["fanout", "-c", "200", "-m", "100", "-w", "8"], ["fanout", "-c", "100", "-m", "20", "-s", "70000"],
        ["unicast", "-c", "200", "-m", "5000", "-w", "64"], ["echo", "-c", "50", "-m", "40", "-s", "5000"],
    ])
    func `nothing is lost, duplicated or reordered`(arguments: [String]) async throws {
        try await TestServer.with { server in
            let run = try await load(server, arguments)
            // This throws, so that the server's log is printed.
            try #require(run.code == 0, "\(run.output) \(run.error)")
            #expect(run.output.contains("\"broken\":[]"))
            #expect(run.output.contains("server_cpu_per_"), "the server's processes were found")
        }
    }

    @Test func `500 sessions lose nothing in a network that cuts, stalls and delays, while workers come and go`()
        async throws
    {
        try await TestServer.with { server in
            let commands = ["--commands", "restart --all,scale 3,scale 2", "--control-socket", server.controlSocket]
            let run = try await load(
                server,
                ["continuity", "--cut", "-c", "500", "--seconds", "6", "--cut-interval", "10"] + commands
            )
            try #require(run.code == 0, "\(run.output) \(run.error)")
            let report = try TestServer.decode(SessionReport.self, from: run.output)
            #expect(report.broken == [] && report.resumesRefused == 0)
            #expect(report.cuts > 100 && report.stalls > 30 && report.resumes > 100, "\(report)")
            #expect(report.held > 10 && report.said > 100, "\(report)")
            // Sessions that are closed in order leave nothing.
            try await server.waitForStatistics("nobody") { now in
                now.totalConnections == 0 && now.shards.allSatisfy { $0.slotsInUse == 0 }
            }
        }
    }

    @Test func `it finds what is lost: behind the same network, connections without sessions lose messages`()
        async throws
    {
        try await TestServer.with(environment: ["MARTLET_CLIENT_RESUME_WINDOW": "0s"]) { server in
            let run = try await load(server, ["continuity", "--cut", "-c", "100", "--seconds", "2"])
            #expect(run.code == 1, "\(run.error)")
            let report = try TestServer.decode(SessionReport.self, from: run.output)
            #expect(report.resumes == 0 && report.resumesRefused > 0 && report.lost > 0, "\(report)")
            #expect(report.broken.contains("\(report.lost) lost"))
            #expect(report.broken.contains { $0.hasSuffix("resumes refused: the server offers no sessions") })
        }
    }

    @Test func `clients show tokens to a server that asks for them, and backends a key`() async throws {
        let secret = String(repeating: "s3cret-", count: 12)
        nonisolated(unsafe) var folder = ""
        try await TestServer.with(
            isDevelopment: false,
            prepare: {
                folder = $0
                for (name, text) in ["secret": secret + "\n", "keys": "# backend\n\nkey-of-the-backend-0123456789\n"] {
                    try text.write(toFile: "\($0)/\(name)", atomically: true, encoding: .utf8)
                    try FileManager.default.setAttributes(
                        [.posixPermissions: 0o600],
                        ofItemAtPath: "\($0)/\(name)"
                    )
                }
                return [
                    "MARTLET_AUTH_HMAC_SECRET_FILE": "\($0)/secret", "MARTLET_AUTH_API_KEYS_FILE": "\($0)/keys",
                ]
            }
        ) { server in
            let key = ["--api-key-file", folder + "/keys"]
            let own = ["--secret-file", folder + "/secret"]
            let command = "'\(TestServer.binaries)/martletctl' token --control-socket '\(server.controlSocket)'"
            let rooms = (["continuity"] + (0..<8).map { "own-\($0)" }).map { " --thread \($0)" }.joined()
            let printed = ["--token-command", "\(command) --user '{user}'\(rooms)"]
            for arguments in [
                ["connect", "-c", "100"] + own, ["connect", "-c", "20", "--users", "10"] + printed,
                ["fanout", "-c", "50", "-m", "20"] + own + key, ["unicast", "-c", "20", "-m", "50"] + printed + key,
                ["continuity", "-c", "50", "--seconds", "1"] + own + key,
                ["continuity", "--cut", "-c", "50", "--seconds", "2"] + own + key,
                ["continuity", "--cut", "-c", "20", "--seconds", "1"] + printed + key,
            ] {
                let run = try await load(server, arguments)
                #expect(
                    run.code == 0 && run.output.contains("\"broken\":[]"),
                    "\(arguments): \(run.output) \(run.error)"
                )
            }
            let refused = try await load(server, ["connect", "-c", "10"])
            #expect(refused.code == 1 && refused.output.contains("10 connections failed: HTTP/1.1 401"))
            let cut = try await load(server, ["continuity", "--cut", "-c", "10"] + key)
            #expect(cut.code == 1 && cut.error.contains("connections failed: closed with 4401"), "\(cut.error)")
            let none = try await load(server, ["connect", "-c", "10", "--token-command", "echo '{user}' >&2; exit 3"])
            #expect(none.code == 1 && none.error.contains("printed no token (exit code 3): echo 'load-0'"))
        }
    }

    @Test func `tokens are signed as FIPS 180-4 and RFC 4231 say`() {
        func hex(_ bytes: [UInt8]) -> String { bytes.map { String(format: "%02x", $0) }.joined() }
        let long = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"
        for (message, digest) in [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (long, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
        ] {
            #expect(hex(SHA256.digest(message.utf8)) == digest)
        }
        let larger = "This is a test using a larger than block-size key and a larger than block-size data. "
        let vectors: [(key: [UInt8], data: [UInt8], code: String)] = [
            (
                Array(repeating: 0x0b, count: 20), Array("Hi There".utf8),
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
            ),
            (
                Array("Jefe".utf8), Array("what do ya want for nothing?".utf8),
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
            ),
            (
                Array(repeating: 0xaa, count: 20), Array(repeating: 0xdd, count: 50),
                "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"
            ),
            (
                Array(1...25), Array(repeating: 0xcd, count: 50),
                "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"
            ),
            (
                Array(repeating: 0xaa, count: 131),
                Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8),
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
            ),
            (
                Array(repeating: 0xaa, count: 131),
                Array((larger + "The key needs to be hashed before being used by the HMAC algorithm.").utf8),
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"
            ),
        ]
        for (key, data, code) in vectors { #expect(hex(SHA256.authenticate(data, key: key)) == code) }
    }
}
