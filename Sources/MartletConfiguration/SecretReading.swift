// SPDX-License-Identifier: Apache-2.0

package import MartletCore
internal import MartletLinux
package import MartletWire

/// Reads secrets from systemd credentials (`$CREDENTIALS_DIRECTORY`), or from the files that the configuration names.
///
/// Secrets are never in arguments, in logs, or in the configuration that is shown.
package struct SecretReading {
    private static let largestKeySet = 1_048_576
    private static let largestSecret = 65536
    /// The shortest secret in bytes: it must have as many bits as the hash (RFC 7518, 3.2).
    private static let shortestSecret = 32
    private static let shortestAPIKey = 16

    package private(set) var secrets = BirthContract.Secrets()
    /// Files that more people can read than should.
    package private(set) var exposed: [String] = []
    /// Whether a secret was generated, because in development none was given.
    package private(set) var isSecretMadeUp = false
    /// Secrets that are there and cannot be used, or that must be there and are not.
    package private(set) var problems: [ConfigurationError] = []
    private let reading: ConfigurationReading
    private let credentials: String?

    init(_ reading: ConfigurationReading, credentials: String?) {
        self.reading = reading
        self.credentials = credentials
        let auth = reading.configuration.auth
        noting { reading throws(ConfigurationError) in
            reading.secrets.hmac = try reading.secret("auth.hmac_secret_file", auth.hmacSecretFile, "hmac_secret")
        }
        noting { reading throws(ConfigurationError) in
            reading.secrets.previousHMAC = try reading.secret(
                "auth.previous_hmac_secret_file",
                auth.previousHMACSecretFile,
                "previous_hmac_secret"
            )
        }
        noting { reading throws(ConfigurationError) in reading.secrets.jwks = try reading.keySet(auth.jwksFile) }
        noting { reading throws(ConfigurationError) in reading.secrets.apiKeys = try reading.apiKeys(auth.apiKeysFile) }
        secrets.issuer = auth.issuer
        secrets.audience = auth.audience
        secrets.leewayMilliseconds = UInt32(auth.leeway.nanoseconds / 1_000_000)
        secrets.anyRoom = auth.anyRoom
        if reading.configuration.isDevelopment, secrets.hmac.isEmpty {
            // It is valid for this run only, so that tokens can be tried out: `martletctl token`.
            isSecretMadeUp = true
            secrets.hmac = Array("\(CurrentProcess.random())\(CurrentProcess.random())\(CurrentProcess.random())".utf8)
        }
        if problems.isEmpty { noting { reading throws(ConfigurationError) in try reading.checkClients() } }
    }

    private mutating func noting(_ read: (inout Self) throws(ConfigurationError) -> Void) {
        do throws(ConfigurationError) { try read(&self) } catch { problems.append(error) }
    }

    /// Keeps the secret that an earlier program generated, so that tokens that were made with it remain valid.
    package mutating func keepMadeUpSecret(_ secret: [UInt8]) {
        if isSecretMadeUp, !secret.isEmpty { secrets.hmac = secret }
    }

    private func checkClients() throws(ConfigurationError) {
        if secrets.hmac.isEmpty, secrets.jwks == nil {
            throw ConfigurationError(
                key: "auth.hmac_secret_file",
                why: "is not set, nor is auth.jwks_file, so nobody could prove who they are. "
                    + "Create one: openssl rand -base64 48 > FILE; to try Martlet on this machine, start it with --dev"
            )
        }
    }

    /// Throws if the API is on a network, and backends could not prove who they are.
    package func checkBackends(isNetwork: Bool) throws(ConfigurationError) {
        guard isNetwork, secrets.apiKeys.isEmpty, !reading.configuration.isDevelopment else { return }
        throw ConfigurationError(
            key: "auth.api_keys_file",
            why: "is not set, and api.listen is on a network, so anyone could publish. "
                + "Create one: openssl rand -hex 32 > FILE; or listen on unix:PATH"
        )
    }

    // MARK: Files

    private mutating func secret(
        _ key: String,
        _ file: String?,
        _ credential: String
    ) throws(ConfigurationError) -> [UInt8] {
        guard let bytes = try contents(key, file, credential) else { return [] }
        guard bytes.count >= Self.shortestSecret else {
            throw located(key, "has \(bytes.count) bytes; a secret needs 32 or more: openssl rand -base64 48 > FILE")
        }
        return bytes
    }

    private mutating func keySet(_ file: String?) throws(ConfigurationError) -> String? {
        let key = "auth.jwks_file"
        guard let bytes = try contents(key, file, "jwks", isSecret: false) else { return nil }
        do throws(JSONFailure) {
            let keys = try JSONValue(bytes)["keys"]?.array ?? []
            if keys.isEmpty { throw JSONFailure(offset: 0, why: "there is no key in it: {\"keys\":[...]}") }
        } catch {
            throw located(key, "is not a JSON Web Key Set: \(error.why), at byte \(error.offset)")
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private mutating func apiKeys(_ file: String?) throws(ConfigurationError) -> [[UInt8]] {
        let key = "auth.api_keys_file"
        guard let bytes = try contents(key, file, "api_keys") else { return [] }
        var keys: [[UInt8]] = []
        for line in bytes.split(separator: 0x0A) {
            let text = Self.trimmed(line)
            if text.isEmpty || text.first == UInt8(ascii: "#") { continue }
            guard text.count >= Self.shortestAPIKey, text.count <= 4096, text.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
            else { throw located(key, "a key must have 16 to 4096 printable characters, without spaces") }
            keys.append(text)
        }
        if keys.isEmpty { throw located(key, "there is no key in it") }
        return keys
    }

    /// Reads a credential or a file, without white space at its end; nil if there is neither.
    private mutating func contents(
        _ key: String,
        _ file: String?,
        _ credential: String,
        isSecret: Bool = true
    ) throws(ConfigurationError) -> [UInt8]? {
        let isExplicit = reading.source(of: key) == .flag || reading.source(of: key) == .environment
        var path = file
        if !isExplicit, let folder = credentials, File.exists("\(folder)/\(credential)") {
            path = "\(folder)/\(credential)"
        }
        guard let path else { return nil }
        let bytes: [UInt8]
        do throws(SystemCallError) {
            bytes = try File.read(path, limit: isSecret ? Self.largestSecret : Self.largestKeySet)
        } catch {
            throw located(key, "\(error)")
        }
        if isSecret, File.isReadableByAll(path) { exposed.append(path) }
        return Self.trimmed(bytes[...])
    }

    private func located(_ key: String, _ why: String) -> ConfigurationError {
        reading.located(ConfigurationError(key: key, why: why))
    }

    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        var bytes = bytes
        while let last = bytes.last, [0x20, 0x09, 0x0A, 0x0D].contains(last) { bytes.removeLast() }
        return Array(bytes)
    }
}
