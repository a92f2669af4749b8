// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletCore
import Testing

@testable import MartletConfiguration

@Suite(.serialized) struct ConfigurationReadingTests {
    private func read(_ yaml: String, flags: [String: String] = [:]) throws -> Configuration {
        let path = FileManager.default.temporaryDirectory.path + "/martlet-\(UUID().uuidString).yaml"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try yaml.write(toFile: path, atomically: true, encoding: .utf8)
        let reading = ConfigurationReading(file: path, flags: flags, over: Configuration())
        if let problem = reading.problems.first { throw problem }
        return reading.configuration
    }

    @Test func `the file is read, in block and in flow style`() throws {
        let configuration = try read(
            """
            workers: 3
            client: { listen: "127.0.0.1:9", max_message_bytes: 2000, handshake_timeout: 250ms }
            api:
              listen: unix:/run/x.sock
            supervision:
              liveness_timeout: 2m
            """
        )
        #expect(configuration.workers == 3)
        #expect(configuration.client.listen == "127.0.0.1:9")
        #expect(configuration.client.maxMessageBytes == 2000)
        #expect(configuration.client.handshakeTimeout == .milliseconds(250))
        #expect(configuration.api.listen == "unix:/run/x.sock")
        #expect(configuration.supervision.livenessTimeout == .seconds(120))
    }

    @Test func `flags come before the environment, the environment before the file`() throws {
        setenv("MARTLET_API_MAX_BODY_BYTES", "5000", 1)
        defer { unsetenv("MARTLET_API_MAX_BODY_BYTES") }
        let yaml = "workers: 2\napi: { max_body_bytes: 4000 }\n"
        #expect(try read(yaml).api.maxBodyBytes == 5000)
        #expect(try read(yaml, flags: ["workers": "auto"]).workers == nil)
    }

    @Test(arguments: [
        ("clients: 1", "clients"), ("client: { lisen: x }", "client.lisen"), ("workers: many", "workers"),
        ("workers: [1]", "workers"), ("client: { handshake_timeout: 5 }", "client.handshake_timeout"),
        ("client: { queue_bytes: 1.5 }", "client.queue_bytes"), ("{", "config"),
        ("api: { unix_socket: open }", "api.unix_socket"),
    ])
    func `a value that cannot be used is named by its key`(yaml: String, key: String) {
        #expect { try read(yaml) } throws: { ($0 as? ConfigurationError)?.key == key }
    }

    @Test(arguments: [
        "", "# nothing\n\n# at all", "---\n", "---\n# nothing\n...\n", "client:\n", "client: ~\nworkers:\n", "~",
        "\u{FEFF}# x",
    ])
    func `a file that says nothing gives the defaults`(yaml: String) throws {
        #expect(try read(yaml) == Configuration())
    }

    @Test(arguments: ["client: /x", "client: [a]", "limits: 3", "metrics: true"])
    func `a word in place of a section is named`(yaml: String) {
        #expect { try read(yaml) } throws: { "\($0)".contains("is a section: write its keys below it") }
    }

    @Test func `an empty variable counts as none`() throws {
        setenv("MARTLET_WORKERS", "", 1)
        setenv("MARTLET_CLIENT_LISTEN", "", 1)
        defer {
            unsetenv("MARTLET_WORKERS")
            unsetenv("MARTLET_CLIENT_LISTEN")
        }
        let configuration = try read("workers: 2")
        #expect(configuration.workers == 2 && configuration.client.listen == Configuration().client.listen)
    }

    @Test(arguments: [
        ("https://a, https://b", ["https://a", "https://b"]), ("[\"https://a\", \"x,y\"]", ["https://a", "x,y"]),
        ("[]", []),
    ])
    func `a list in a variable is separated by commas, or is JSON`(text: String, list: [String]) throws {
        setenv("MARTLET_CLIENT_ALLOWED_ORIGINS", text, 1)
        defer { unsetenv("MARTLET_CLIENT_ALLOWED_ORIGINS") }
        #expect(try read("").client.allowedOrigins == list)
    }

    @Test(arguments: ["[\"a\"", "[true]", "[{}]"])
    func `a list that begins like JSON but is not valid is refused`(text: String) {
        setenv("MARTLET_CLIENT_ALLOWED_ORIGINS", text, 1)
        defer { unsetenv("MARTLET_CLIENT_ALLOWED_ORIGINS") }
        #expect { try read("") } throws: {
            "\($0)".contains("MARTLET_CLIENT_ALLOWED_ORIGINS: client.allowed_origins: is ")
        }
    }

    @Test(arguments: [("4096", 4096), ("64KiB", 65536), ("1 MiB", 1_048_576), ("1GiB", 1_073_741_824), ("5000B", 5000)])
    func `a size may have a unit`(text: String, bytes: Int) throws {
        #expect(try read("client: { queue_bytes: \(text) }").client.queueBytes == bytes)
        #expect(try read("supervision: { hold_bytes: \(text) }").supervision.holdBytes == bytes)
    }

    @Test func `every key that counts bytes accepts a unit, and is among the limits that are shown`() {
        let bytes = ConfigurationKey.all.filter { $0.name.hasSuffix("_bytes") }
        #expect(bytes.count >= 7 && bytes.allSatisfy { $0.shape == .size })
        let shown = Set(ConfigurationKey.bounds(of: Configuration()).map(\.key))
        #expect(bytes.allSatisfy { shown.contains($0.name) })
    }

    @Test(arguments: ["1MB", "1kib", "MiB", "-1", "1.5MiB", "99999999999TiB", "1 M"])
    func `a value that is not a size is refused`(text: String) {
        #expect { try read("client: { queue_bytes: \(text) }") } throws: { "\($0)".contains("is not a size: write") }
    }

    private func problems(_ yaml: String) throws -> [String] {
        let path = FileManager.default.temporaryDirectory.path + "/martlet-\(UUID().uuidString).yaml"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try yaml.write(toFile: path, atomically: true, encoding: .utf8)
        let reading = ConfigurationReading(file: path, flags: [:], over: Configuration.development)
        return (reading.check().1 + reading.unusableAddresses().problems).map { "\($0)".replacing(path, with: "FILE") }
    }

    @Test(arguments: [
        "127.1:8000", "localhost:8000", "::1:8000", "[127.0.0.1]:8000", "127.0.0.1", "127.0.0.1:99999", "[::1:8000",
        "1:1",
        "0x7f.1:80", "unix:relative", "unix:/nowhere/x.sock", "127.0.0.1:",
    ])
    func `an address that cannot be listened on is refused`(address: String) throws {
        #expect(try problems("api: { listen: \"\(address)\" }").contains { $0.hasPrefix("FILE:1: api.listen: ") })
    }

    @Test(arguments: [
        ("127.0.0.1:7000", "127.0.0.1:7000"), ("0.0.0.0:7000", "127.0.0.1:7000"), ("[::]:7000", "127.0.0.1:7000"),
        ("unix:/tmp/x.sock", "unix:/tmp/x.sock"),
    ])
    func `an address that two keys have is reported`(one: String, other: String) throws {
        let found = try problems("metrics: { listen: \"\(one)\" }\napi: { listen: \"\(other)\" }")
        #expect(found.contains { $0.contains("metrics.listen: '\(one)' is used by api.listen") }, "\(found)")
    }

    @Test func `addresses that differ are valid, and so are ports that the kernel chooses`() throws {
        let yaml = """
            client: { listen: "127.0.0.1:0" }
            api: { listen: "127.0.0.1:0" }
            metrics: { listen: "[::1]:7000" }
            control_socket: none
            """
        #expect(try problems(yaml) == [])
    }

    @Test func `a list in JSON may contain numbers`() throws {
        setenv("MARTLET_API_ALLOWED_UIDS", "[1, \"2\"]", 1)
        defer { unsetenv("MARTLET_API_ALLOWED_UIDS") }
        #expect(try read("").api.allowedUIDs == [1, 2])
    }

    @Test(arguments: [("workers: 1\nworkers: 2\n", "FILE"), ("a: [\n", "FILE:2")])
    func `the parser's message becomes one line, and nothing else is said about a file that cannot be read`(
        _ yaml: String,
        _ place: String
    ) throws {
        let found = try problems(yaml)
        #expect(found.count == 1 && found[0].hasPrefix(place) && !found[0].contains("\n"), "\(found)")
    }

    @Test(arguments: ["foo", "None", "./x"])
    func `the error for a control socket that is not a path says what it must be`(_ text: String) throws {
        let found = try problems("control_socket: \"\(text)\"")
        #expect(found == ["FILE:1: control_socket: '\(text)' is neither an absolute path nor none"])
    }

    @Test func `all mistakes are reported at once, each with its line`() throws {
        let found = try problems(
            """
            workers: many
            client:
              path: nothing
              queue_bytes: 1
              colour: red
              trusted_proxies: [10.0.0.1/8, 10.0.0.0/8, "2001:db8::/32", nonsense]
            api:
              listen: 127.1:8000
            auth:
              hmac_secret_file: /nowhere/a
              api_keys_file: /nowhere/b
            control_socket: relative
            """
        )
        let expected = [
            "FILE:1: workers: ", "FILE:3: client.path: ", "FILE:4: client.queue_bytes: ", "FILE:5: client.colour: ",
            "FILE:6: client.trusted_proxies: '10.0.0.1/8'", "FILE:6: client.trusted_proxies: 'nonsense'",
            "FILE:8: api.listen: ", "FILE:10: auth.hmac_secret_file: ", "FILE:11: auth.api_keys_file: ",
            "FILE:12: control_socket: ",
        ]
        for start in expected { #expect(found.contains { $0.hasPrefix(start) }, "\(start) of \(found)") }
        #expect(found.count == expected.count, "\(found)")
    }
}
