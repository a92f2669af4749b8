// SPDX-License-Identifier: Apache-2.0

package import MartletCore
package import MartletLinux
internal import MartletWire

/// Reads configuration: flags, then environment (`MARTLET_CLIENT_LISTEN`), then the file, then defaults.
///
/// All problems are collected, so that an operator can fix them all at once.
package struct ConfigurationReading {
    /// Where the value of a key came from.
    enum Source: Equatable {
        case flag
        case environment
        case file
    }

    private static let largestFile = 1_048_576

    /// The configuration in force, as far as it could be read.
    package private(set) var configuration: Configuration
    /// The problems with values that could not be read.
    package private(set) var problems: [ConfigurationError] = []
    private var sources: [String: Source] = [:]
    private let path: String?
    private var file: YAMLFile?

    /// Reads the configuration, over the defaults.
    package init(
        file path: String?,
        flags: [String: String],
        over defaults: Configuration
    ) {
        let contents: Contents?
        do throws(SystemCallError) {
            contents = try path.map { path throws(SystemCallError) in
                .bytes(try File.read(path, limit: Self.largestFile), path: path)
            }
        } catch {
            contents = .unreadable(error, path: path ?? "")
        }
        self.init(contents, flags: flags, over: defaults)
    }

    /// The contents of a file, or why it could not be read.
    package enum Contents {
        case bytes([UInt8], path: String)
        case unreadable(SystemCallError, path: String)
    }

    /// Reads the configuration, over the defaults, from a file whose contents were already read.
    package init(_ contents: Contents?, flags: [String: String], over defaults: Configuration) {
        configuration = defaults
        switch contents {
        case .bytes(let bytes, let path):
            self.path = path
            read(bytes, path)
        case .unreadable(let error, let path):
            self.path = path
            problems.append(ConfigurationError(key: "config", why: "\(error)").at(path))
        case nil: path = nil
        }
        for key in ConfigurationKey.all {
            do throws(ConfigurationError) {
                if let flag = flags[key.name] {
                    sources[key.name] = .flag
                    try key.set(&configuration, .text(flag))
                } else if let text = CurrentProcess.environment(Self.variable(key.name)), !text.isEmpty {
                    sources[key.name] = .environment
                    try key.set(&configuration, .text(text))
                } else if let entry = file?.entry(key.name), entry.value != .nothing {
                    // This is set before the value is read, so that a problem is reported with its line.
                    sources[key.name] = .file
                    try key.set(&configuration, try Self.value(of: key, entry.value))
                }
            } catch {
                problems.append(located(error))
            }
        }
    }

    func source(of key: String) -> Source? { sources[key] }

    /// Returns an error with the place where its value was written.
    package func located(_ error: ConfigurationError) -> ConfigurationError {
        guard error.place == nil else { return error }
        switch sources[error.key] {
        case .flag: return error.at("command line")
        case .environment: return error.at(Self.variable(error.key))
        case .file: return error.at("\(path ?? ""):\(file?.entry(error.key)?.line ?? 1)")
        case nil: return error
        }
    }

    /// Reads the file, and reports keys that there are not; nothing else is said about a file that cannot be read.
    private mutating func read(_ bytes: [UInt8], _ path: String) {
        let file: YAMLFile
        do throws(YAMLProblem) {
            file = try YAMLFile(bytes)
        } catch {
            problems.append(ConfigurationError(key: "config", why: error.why).at("\(path):\(error.line)"))
            return
        }
        self.file = file
        let keys = Set(ConfigurationKey.all.map(\.name))
        let sections = Set(
            keys.filter { $0.contains(".") }.compactMap { $0.split(separator: ".").first.map(String.init) }
        )
        for entry in file.entries where !keys.contains(entry.key) {
            if !sections.contains(entry.key) {
                problems.append(wrong(entry, "there is no such key"))
            } else if entry.value != .nothing {
                let first = ConfigurationKey.all.first { $0.name.hasPrefix(entry.key + ".") }?.name.split(
                    separator: "."
                )
                .last
                problems.append(wrong(entry, "is a section: write its keys below it, indented (\(first ?? ""): ...)"))
            }
        }
    }

    /// True if the file could not be read at all, so that none of its values are known.
    package var isUnreadable: Bool { problems.contains { $0.key == "config" } }

    private func wrong(_ entry: YAMLFile.Entry, _ why: String) -> ConfigurationError {
        ConfigurationError(key: entry.key.isEmpty ? "''" : entry.key, why: why).at("\(path ?? ""):\(entry.line)")
    }

    /// Returns the variable of a key, such as `MARTLET_CLIENT_LISTEN` for `client.listen`.
    package static func variable(_ name: String) -> String {
        "MARTLET_" + name.uppercased().replacing(".", with: "_")
    }

    /// Returns variables that look like ours but are unknown, so that no typing error goes unnoticed.
    ///
    /// Kubernetes sets some for each service with our name, which do not count: `MARTLET_SERVICE_HOST`,
    /// `MARTLET_PORT_8000_TCP`.
    package static func unknownVariables(in environment: [String]) -> [String] {
        let known = Set(ConfigurationKey.all.map { variable($0.name) } + ["MARTLET_FAULTS"])
        return environment.map { String($0.prefix { $0 != "=" }) }
            .filter { $0.hasPrefix("MARTLET_") && !$0.hasPrefix(resuming) && !known.contains($0) }
            .filter { !$0.contains("_SERVICE_") && !$0.contains("_PORT_") && !$0.hasSuffix("_PORT") }
            .sorted()
    }

    /// The prefix of variables by which one program of ours passes something on to the next.
    private static let resuming = "MARTLET_RESUME"

    private static func value(
        of key: ConfigurationKey,
        _ value: YAMLFile.Value
    ) throws(ConfigurationError) -> ConfigurationValue {
        switch value {
        case .list(let list) where key.shape == .list: return .list(list)
        case .list: throw ConfigurationError(key: key.name, why: "must be one value, not a list")
        case .text where key.shape == .list: throw ConfigurationError(key: key.name, why: "must be a list: [a, b]")
        case .text(let text): return .text(text)
        case .nothing: return .text("")
        }
    }
}
