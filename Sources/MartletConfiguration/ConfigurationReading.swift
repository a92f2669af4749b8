internal import Configuration
package import MartletCore
package import MartletLinux
internal import MartletWire

/// Reads configuration: flags, then environment (`MARTLET_CLIENT_LISTEN`), then the file, then defaults.
///
/// All that is wrong is collected, so that an operator mends it at once.
package struct ConfigurationReading {
    /// Where the value of a key came from.
    enum Source: Equatable {
        case flag
        case environment
        case file
    }

    private static let largestFile = 1_048_576

    /// What is in force, as far as it can be.
    package private(set) var configuration: MartletCore.Configuration
    /// What could not be read.
    package private(set) var problems: [ConfigurationError] = []
    private var sources: [String: Source] = [:]
    private let path: String?
    private var lines: [String] = []

    /// Puts what was configured over the defaults.
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

    /// What a file holds.
    package enum Contents {
        case bytes([UInt8], path: String)
        case unreadable(SystemCallError, path: String)
    }

    /// The same of a file that was read already.
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
                    // Known before it is read, so that what cannot be read is named by its line.
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

    /// Says of an error where its value was written.
    package func located(_ error: ConfigurationError) -> ConfigurationError {
        guard error.place == nil else { return error }
        switch sources[error.key] {
        case .flag: return error.at("command line")
        case .environment: return error.at(Self.variable(error.key))
        case .file: return error.at("\(path ?? ""):\(line(of: error.key))")
        case nil: return error
        }
    }

    /// The line of a key, counted from 1: the first that names it, behind the one that names its section.
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

    /// What the file says; nil where that is nothing, or it cannot be read.
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
            // Asked about each key whether it is a secret, the recorder learns which keys there are.
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

    /// The parser's words in one line, with the line that it means.
    private static func unreadable(_ words: String, _ path: String) -> ConfigurationError {
        let why = words.split(whereSeparator: \.isNewline).map { HTTPSyntax.trimmed($0) }.joined(separator: "; ")
        let line = why.firstMatch(of: /^(\d+):\d+:/)?.1 ?? why.firstMatch(of: /in line (\d+)/)?.1
        return ConfigurationError(key: "config", why: why).at(line.map { "\(path):\($0)" } ?? path)
    }

    /// The file could not be read at all, so that nothing is known of what it says.
    package var isUnreadable: Bool { problems.contains { $0.key == "config" } }

    private func wrong(_ name: String, _ why: String) -> ConfigurationError {
        ConfigurationError(key: name.isEmpty ? "''" : name, why: why).at("\(path ?? ""):\(line(of: name))")
    }

    /// A line of YAML without a key: it is empty, or a comment, or begins or ends a document.
    private static func saysNothing(_ line: String) -> Bool {
        // A mark of the order of bytes may stand in front.
        let text = HTTPSyntax.trimmed(line.drop { $0 == "\u{FEFF}" }.prefix { $0 != "#" })
        return (nothings + ["---", "..."]).contains(text)
    }

    /// True of a section with nothing in it, which is no mistake.
    private static func isEmpty(_ section: String, in file: YAMLSnapshot) -> Bool {
        guard let result = try? file.value(forKey: AbsoluteConfigKey([section]), type: .string),
            case .string(let text)? = result.value?.content
        else { return false }
        return nothings.contains(text)
    }

    /// YAML's ways to say that there is nothing.
    private static let nothings = ["", "~", "null", "Null", "NULL"]

    /// `MARTLET_CLIENT_LISTEN` for `client.listen`.
    package static func variable(_ name: String) -> String {
        "MARTLET_" + name.uppercased().replacing(".", with: "_")
    }

    /// Variables that look like ours and are none: a typing error is not to go unnoticed.
    ///
    /// Kubernetes makes some for each service that is named like us: `MARTLET_SERVICE_HOST`, `MARTLET_PORT_8000_TCP`.
    package static func unknownVariables(in environment: [String]) -> [String] {
        let known = Set(ConfigurationKey.all.map { variable($0.name) } + ["MARTLET_FAULTS"])
        return environment.map { String($0.prefix { $0 != "=" }) }
            .filter { $0.hasPrefix("MARTLET_") && !$0.hasPrefix(resuming) && !known.contains($0) }
            .filter { !$0.contains("_SERVICE_") && !$0.contains("_PORT_") && !$0.hasSuffix("_PORT") }
            .sorted()
    }

    /// What one program of ours says to the next by variables.
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
