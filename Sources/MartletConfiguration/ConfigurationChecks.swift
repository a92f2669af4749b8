// SPDX-License-Identifier: Apache-2.0

package import MartletCore
package import MartletLinux
internal import MartletWire

extension ConfigurationReading {
    /// Checks everything that can be checked before a socket is opened, and reads the secrets.
    ///
    /// Throws the first problem.
    package func checked() throws(ConfigurationError) -> SecretReading {
        let (secrets, problems) = check()
        if let problem = problems.first { throw problem }
        return secrets
    }

    /// Checks everything that can be checked before a socket is opened, and returns the secrets and all problems.
    package func check() -> (SecretReading, [ConfigurationError]) {
        let secrets = SecretReading(self, credentials: CurrentProcess.environment("CREDENTIALS_DIRECTORY"))
        if isUnreadable { return (secrets, problems) }
        let found = configuration.problems + addressProblems() + secrets.problems
        // A value that could not be read has its default here, about which nothing is reported.
        let unread = Set(problems.map(\.key))
        return (secrets, problems + found.filter { !unread.contains($0.key) }.map { located($0) })
    }

    /// Checks what only this process can check: addresses, and where a development server may listen.
    private func addressProblems() -> [ConfigurationError] {
        var problems: [ConfigurationError] = []
        var listened: [(key: String, address: ListenAddress)] = []
        for (key, text) in configuration.listeners {
            guard let address = ListenAddress(text) else {
                if key == "control_socket" {
                    let why = "'\(configuration.controlSocket)' is neither an absolute path nor none"
                    problems.append(ConfigurationError(key: key, why: why))
                    continue
                }
                let why = "'\(text)' is not an address: write 127.0.0.1:8000, [::1]:8000 or unix:/path"
                problems.append(ConfigurationError(key: key, why: why))
                continue
            }
            if let why = problem(of: address, key) {
                problems.append(ConfigurationError(key: key, why: "'\(text)': \(why)"))
            }
            if let other = listened.first(where: { $0.address.overlaps(address) }) {
                problems.append(ConfigurationError(key: key, why: "'\(text)' is used by \(other.key)"))
            }
            listened.append((key, address))
        }
        for proxy in configuration.client.trustedProxies where NetworkRange(proxy) == nil {
            let why = "'\(proxy)' is neither an IP address nor a network: write 192.0.2.1 or 10.0.0.0/8"
            problems.append(ConfigurationError(key: "client.trusted_proxies", why: why))
        }
        return problems
    }

    private func problem(of address: ListenAddress, _ key: String) -> String? {
        switch address {
        case .unix(let path):
            if key == "client.listen" { return Self.onlyTCP }
            return path.utf8.count < 108 ? nil : "the path of a socket must be shorter than 108 bytes"
        case .tcp:
            let isExposed = configuration.isDevelopment && !Self.isLoopback(address)
            return isExposed ? "with --dev nobody is authenticated, so it serves loopback only" : nil
        }
    }

    /// The problem with a Unix socket for clients.
    ///
    /// Only for TCP does the kernel count bytes, and a connection can outlive its worker only because of these counts.
    package static let onlyTCP = "clients connect over TCP: put the proxy on 127.0.0.1"

    /// Returns why nobody can listen on an address.
    package static func words(_ error: SystemCallError) -> String {
        if error.isAddressInUse { return "\(error) (is another martletd running?)" }
        return error.isExisting ? "\(error), and it is not a socket, so it is left alone" : "\(error)"
    }

    private static func isLoopback(_ address: ListenAddress) -> Bool {
        switch address {
        case .unix: true
        case .tcp(let host, _): NetworkAddress(host)?.isLoopback == true
        }
    }

    /// Returns the addresses on which nobody could listen, on this machine as it is now.
    ///
    /// If only the folder of the usual control socket is missing, which a service manager makes, there is a warning.
    package func unusableAddresses() -> (problems: [ConfigurationError], warnings: [String]) {
        var problems: [ConfigurationError] = []
        var warnings: [String] = []
        for (key, text) in isUnreadable ? [] : configuration.listeners {
            guard let address = ListenAddress(text) else { continue }
            do throws(SystemCallError) {
                try Listener.check(address)
            } catch {
                if error.isNotFound, address == .unix(path: ControlAddress.service) {
                    warnings.append("\(key): \(error): unless a service manager creates it, choose another place")
                } else {
                    problems.append(located(ConfigurationError(key: key, why: Self.words(error))))
                }
            }
        }
        return (problems, warnings)
    }
}

extension MartletCore.Configuration {
    /// All addresses to listen on, with their keys.
    fileprivate var listeners: [(key: String, address: String)] {
        var all = [("client.listen", client.listen), ("api.listen", api.listen)]
        if let address = metrics.listen { all.append(("metrics.listen", address)) }
        if controlSocket != Self.noControlSocket { all.append(("control_socket", "unix:" + controlSocket)) }
        return all
    }
}
