// SPDX-License-Identifier: Apache-2.0

internal import Configuration
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
    package private(set) var configuration: MartletCore.Configuration
    /// The problems with values that could not be read.
    package private(set) var problems: [ConfigurationError] = []
    private var sources: [String: Source] = [:]
    private let path: String?
    private var lines: [String] = []

    /// Reads the configuration, over the defaults.
    package init(
        file path: String?,
        flags: [String: String],
        over defaults: MartletCore.Configuration
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
    package init(_ contents: Contents?, flags: [String: String], over defaults: MartletCore.Configuration) {
        configuration = defaults
        let file: YAMLSnapshot?
        switch contents {
        case .bytes(let bytes, let path):
            self.path = path
            file = snapshot(of: bytes, path)
        case .unreadable(let error, let path):
            self.path = path
            file = nil
            problems.append(ConfigurationError(key: "config", why: "\(error)").at(path))
        case nil:
            path = nil
            file = nil
        }
        let environment = EnvironmentVariablesProvider()
        for key in ConfigurationKey.all {
            do throws(ConfigurationError) {
                if let flag = flags[key.name] {
                    sources[key.name] = .flag
                    try key.set(&configuration, .text(flag))
                } else if let text = Self.variable(key.name, in: environment) {
                    sources[key.name] = .environment
                    try key.set(&configuration, .text(text))
                } else if let file {
                    // This is set before the value is read, so that a problem is reported with its line.
                    sources[key.name] = .file
                    guard let value = try Self.value(of: key, in: file) else {
                        sources[key.name] = nil
                        continue
                    }
                    try key.set(&configuration, value)
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
        case .file: return error.at("\(path ?? ""):\(line(of: error.key))")
        case nil: return error
        }
    }

    /// Returns the line of a key, counted from 1: the first one that names it, after the one that names its section.
    private func line(of key: String) -> Int {
        var start = 0
        for part in key.split(separator: ".") {
            guard let found = lines[start...].firstIndex(where: { Self.names($0, part) }) else { break }
            start = found
        }
        return start + 1
    }

    private static func names(_ line: String, _ key: Substring) -> Bool {
        let code = line.prefix { $0 != "#" }
        return code.split { " {},\t\"'".contains($0) }.contains { $0 == key + ":" || $0.hasPrefix(key + ":") }
    }

    /// Parses the file; nil if it says nothing, or cannot be parsed.
    private mutating func snapshot(of bytes: [UInt8], _ path: String) -> YAMLSnapshot? {
        let names = KeyRecorder()
        let snapshot: YAMLSnapshot
        do {
            lines = String(decoding: bytes, as: UTF8.self).split(
                omittingEmptySubsequences: false,
                whereSeparator: \.isNewline
            )
            .map(String.init)
            if lines.allSatisfy(Self.saysNothing) { return nil }
            // The parser asks for each key whether it is a secret, so the recorder learns which keys there are.
            let options = YAMLSnapshot.ParsingOptions(
                secretsSpecifier: .dynamic { key, _ in
                    names.append(key)
                    return false
                }
            )
            snapshot = unsafe try YAMLSnapshot(data: bytes.span.bytes, providerName: path, parsingOptions: options)
        } catch {
            problems.append(Self.unreadable("\(error)", path))
            return nil
        }
        let keys = Set(ConfigurationKey.all.map(\.name))
        let sections = Set(
            keys.filter { $0.contains(".") }.compactMap { $0.split(separator: ".").first.map(String.init) }
        )
        for name in names.all.sorted() where !keys.contains(name) {
            if !sections.contains(name) {
                problems.append(wrong(name, "there is no such key"))
            } else if !Self.isEmpty(name, in: snapshot) {
                let first = ConfigurationKey.all.first { $0.name.hasPrefix(name + ".") }?.name.split(separator: ".")
                    .last
                problems.append(wrong(name, "is a section: write its keys below it, indented (\(first ?? ""): ...)"))
            }
        }
        return snapshot
    }

    /// Makes the error from the parser's message, in one line, with the line number that it names.
    private static func unreadable(_ words: String, _ path: String) -> ConfigurationError {
        let why = words.split(whereSeparator: \.isNewline).map { HTTPSyntax.trimmed($0) }.joined(separator: "; ")
        let line = why.firstMatch(of: /^(\d+):\d+:/)?.1 ?? why.firstMatch(of: /in line (\d+)/)?.1
        return ConfigurationError(key: "config", why: why).at(line.map { "\(path):\($0)" } ?? path)
    }

    /// True if the file could not be read at all, so that none of its values are known.
    package var isUnreadable: Bool { problems.contains { $0.key == "config" } }

    private func wrong(_ name: String, _ why: String) -> ConfigurationError {
        ConfigurationError(key: name.isEmpty ? "''" : name, why: why).at("\(path ?? ""):\(line(of: name))")
    }

    /// Returns true for a line of YAML without a key: an empty line, a comment, or the beginning or end of a document.
    private static func saysNothing(_ line: String) -> Bool {
        // There may be a byte order mark in front.
        let text = HTTPSyntax.trimmed(line.drop { $0 == "\u{FEFF}" }.prefix { $0 != "#" })
        return (nothings + ["---", "..."]).contains(text)
    }

    /// Returns true for a section with nothing in it, which is not a mistake.
    private static func isEmpty(_ section: String, in file: YAMLSnapshot) -> Bool {
        guard let result = try? file.value(forKey: AbsoluteConfigKey([section]), type: .string),
            case .string(let text)? = result.value?.content
        else { return false }
        return nothings.contains(text)
    }

    /// YAML's ways to write that there is nothing.
    private static let nothings = ["", "~", "null", "Null", "NULL"]

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

    private static func variable(_ name: String, in environment: EnvironmentVariablesProvider) -> String? {
        let parts = ["martlet"] + name.split(separator: ".").map(String.init)
        guard let result = try? environment.value(forKey: AbsoluteConfigKey(parts), type: .string),
            case .string(let text)? = result.value?.content, !text.isEmpty
        else { return nil }
        return text
    }

    private static func value(
        of key: ConfigurationKey,
        in file: YAMLSnapshot
    ) throws(ConfigurationError) -> ConfigurationValue? {
        let path = AbsoluteConfigKey(key.name.split(separator: ".").map(String.init))
        if key.shape == .list {
            do {
                guard case .stringArray(let list)? = try file.value(forKey: path, type: .stringArray).value?.content
                else { return nil }
                return .list(list)
            } catch {
                throw ConfigurationError(key: key.name, why: "must be a list: [a, b]")
            }
        }
        do {
            guard case .string(let text)? = try file.value(forKey: path, type: .string).value?.content else {
                return nil
            }
            return nothings.contains(text) ? nil : .text(text)
        } catch {
            throw ConfigurationError(key: key.name, why: "must be one value, not a list")
        }
    }
}
