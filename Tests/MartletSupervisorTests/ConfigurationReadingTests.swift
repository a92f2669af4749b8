import Foundation
import MartletCore
import Testing

@testable import MartletSupervisor

@Suite(.serialized) struct ConfigurationReadingTests {
    private func read(_ yaml: String, flags: [String: String] = [:]) throws -> Configuration {
        let path = FileManager.default.temporaryDirectory.path + "/martlet-\(UUID().uuidString).yaml"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try yaml.write(toFile: path, atomically: true, encoding: .utf8)
        return try ConfigurationReading(file: path, flags: flags, over: Configuration()).configuration
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
    ])
    func `what cannot be used is named by its key`(yaml: String, key: String) {
        #expect { try read(yaml) } throws: { ($0 as? ConfigurationError)?.key == key }
    }
}
