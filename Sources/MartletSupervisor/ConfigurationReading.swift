internal import Configuration
internal import MartletCore
internal import MartletLinux

/// Reads configuration: flags, then environment (`MARTLET_CLIENT_LISTEN`), then the file, then defaults.
enum ConfigurationReading {
    /// A key of the file, and how its text becomes a value.
    private struct Key: Sendable {
        let name: String
        let set: @Sendable (inout MartletCore.Configuration, String) throws(ConfigurationError) -> Void
    }

    private static let largestFile = 1_048_576

    /// Every key.
    ///
    /// An unknown one stops the start, so that no typing error goes unnoticed.
    private static let keys: [Key] = [
        Key(name: "workers") { configuration, text throws(ConfigurationError) in
            configuration.workers = text == "auto" ? nil : try number(text, "workers")
        },
        Key(name: "control_socket") { configuration, text in configuration.controlSocket = text },
        Key(name: "client.listen") { configuration, text in configuration.client.listen = text },
        Key(name: "client.path") { configuration, text in configuration.client.path = text },
        integer("client.max_message_bytes") { $0.client.maxMessageBytes = $1 },
        duration("client.handshake_timeout") { $0.client.handshakeTimeout = $1 },
        duration("client.heartbeat_interval") { $0.client.heartbeatInterval = $1 },
        integer("client.queue_bytes") { $0.client.queueBytes = $1 },
        Key(name: "api.listen") { configuration, text in configuration.api.listen = text },
        integer("api.max_body_bytes") { $0.api.maxBodyBytes = $1 },
        integer("limits.connections") { $0.limits.connections = $1 },
        duration("supervision.liveness_interval") { $0.supervision.livenessInterval = $1 },
        duration("supervision.liveness_timeout") { $0.supervision.livenessTimeout = $1 },
        duration("supervision.restart_backoff_min") { $0.supervision.restartBackoffMinimum = $1 },
        duration("supervision.restart_backoff_max") { $0.supervision.restartBackoffMaximum = $1 },
        duration("supervision.handover_timeout") { $0.supervision.handoverTimeout = $1 },
        integer("supervision.hold_bytes") { $0.supervision.holdBytes = $1 },
    ]

    /// Puts what was configured over the defaults that `configuration` holds.
    static func apply(
        file path: String?,
        flags: [String: String],
        to configuration: inout MartletCore.Configuration
    ) throws(ConfigurationError) {
        let file = try path.map { path throws(ConfigurationError) in try snapshot(of: path) }
        let environment = EnvironmentVariablesProvider()
        for key in keys {
            if let flag = flags[key.name] {
                try key.set(&configuration, flag)
            } else if let text = variable(key.name, in: environment) {
                try key.set(&configuration, text)
            } else if let file, let text = try text(of: key.name, in: file) {
                try key.set(&configuration, text)
            }
        }
    }

    private static func snapshot(of path: String) throws(ConfigurationError) -> YAMLSnapshot {
        let names = KeyRecorder()
        do {
            let bytes = try File.read(path, limit: largestFile)
            // Asked about each key whether it is a secret, the recorder learns which keys there are.
            let options = YAMLSnapshot.ParsingOptions(
                secretsSpecifier: .dynamic { key, _ in
                    names.append(key)
                    return false
                }
            )
            let snapshot = unsafe try YAMLSnapshot(data: bytes.span.bytes, providerName: path, parsingOptions: options)
            let known = Set(keys.map(\.name))
            if let unknown = names.all.sorted().first(where: { !known.contains($0) }) {
                throw ConfigurationError(key: unknown, why: "there is no such key (\(path))")
            }
            return snapshot
        } catch let error as ConfigurationError {
            throw error
        } catch {
            throw ConfigurationError(key: "config", why: "\(path): \(error)")
        }
    }

    private static func variable(_ name: String, in environment: EnvironmentVariablesProvider) -> String? {
        let parts = ["martlet"] + name.split(separator: ".").map(String.init)
        guard let result = try? environment.value(forKey: AbsoluteConfigKey(parts), type: .string),
            case .string(let text)? = result.value?.content
        else { return nil }
        return text
    }

    private static func text(of name: String, in file: YAMLSnapshot) throws(ConfigurationError) -> String? {
        let key = AbsoluteConfigKey(name.split(separator: ".").map(String.init))
        do {
            guard case .string(let text)? = try file.value(forKey: key, type: .string).value?.content else {
                return nil
            }
            return text
        } catch {
            throw ConfigurationError(key: name, why: "must be one value, not a list")
        }
    }

    private static func integer(
        _ name: String,
        _ set: @escaping @Sendable (inout MartletCore.Configuration, Int) -> Void
    ) -> Key {
        Key(name: name) { configuration, text throws(ConfigurationError) in
            set(&configuration, try number(text, name))
        }
    }

    private static func duration(
        _ name: String,
        _ set: @escaping @Sendable (inout MartletCore.Configuration, Duration) -> Void
    ) -> Key {
        Key(name: name) { configuration, text throws(ConfigurationError) in
            set(&configuration, try duration(of: text, name))
        }
    }

    private static func number(_ text: String, _ key: String) throws(ConfigurationError) -> Int {
        guard let number = Int(text) else { throw ConfigurationError(key: key, why: "'\(text)' is no whole number") }
        return number
    }

    /// `250ms`, `5s`, `2m`, `1h`.
    private static func duration(of text: String, _ key: String) throws(ConfigurationError) -> Duration {
        let digits = text.prefix { $0.isNumber }
        if let number = Int(digits), number <= 86_400_000 {
            switch text.dropFirst(digits.count) {
            case "ms": return .milliseconds(number)
            case "s": return .seconds(number)
            case "m": return .seconds(number * 60)
            case "h": return .seconds(number * 3600)
            default: break
            }
        }
        throw ConfigurationError(key: key, why: "'\(text)' is no duration: write 250ms, 5s, 2m or 1h")
    }

    /// Checks what only this process can: addresses, and what development may listen on.
    static func checkAddresses(_ configuration: MartletCore.Configuration) throws(ConfigurationError) {
        for (key, text) in [("client.listen", configuration.client.listen), ("api.listen", configuration.api.listen)] {
            guard let address = ListenAddress(text) else {
                let why = "'\(text)' is no address: write 127.0.0.1:8000, [::1]:8000 or unix:/path"
                throw ConfigurationError(key: key, why: why)
            }
            if configuration.isDevelopment, !isLoopback(address) {
                throw ConfigurationError(
                    key: key,
                    why: "'\(text)': with --dev nobody is checked, so it serves loopback only"
                )
            }
        }
        if !configuration.isDevelopment {
            let why =
                "is not set. Without it nobody can prove who they are; for a try-out on this machine start with --dev"
            throw ConfigurationError(key: "auth.hmac_secret_file", why: why)
        }
        guard configuration.controlSocket.hasPrefix("/"), configuration.controlSocket.utf8.count < 108 else {
            throw ConfigurationError(key: "control_socket", why: "must be an absolute path of less than 108 bytes")
        }
    }

    private static func isLoopback(_ address: ListenAddress) -> Bool {
        switch address {
        case .unix: true
        case .tcp(let host, _): host.hasPrefix("127.") || host == "::1"
        }
    }
}

/// Collects the keys of a file while it is parsed.
private final class KeyRecorder: @unchecked Sendable {
    // Unchecked: the parser that writes it runs inside of one call, on one thread.
    private(set) var all: [String] = []

    func append(_ key: String) { all.append(key) }
}
