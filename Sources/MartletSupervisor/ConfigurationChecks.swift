internal import MartletCore
internal import MartletLinux

extension ConfigurationReading {
    /// Checks everything that can be checked before a socket is opened, and reads the secrets.
    func checked() throws(ConfigurationError) -> SecretReading {
        do throws(ConfigurationError) {
            try configuration.validate()
            try checkAddresses()
            return try SecretReading(self, credentials: CurrentProcess.environment("CREDENTIALS_DIRECTORY"))
        } catch {
            throw located(error)
        }
    }

    /// What only this process can check: addresses, and what development may listen on.
    private func checkAddresses() throws(ConfigurationError) {
        for (key, text) in [("client.listen", configuration.client.listen), ("api.listen", configuration.api.listen)] {
            guard let address = ListenAddress(text) else {
                let why = "'\(text)' is no address: write 127.0.0.1:8000, [::1]:8000 or unix:/path"
                throw ConfigurationError(key: key, why: why)
            }
            if key == "client.listen", case .unix = address {
                throw ConfigurationError(key: key, why: Listeners.onlyTCP)
            }
            if configuration.isDevelopment, !Self.isLoopback(address) {
                throw ConfigurationError(
                    key: key,
                    why: "'\(text)': with --dev nobody is checked, so it serves loopback only"
                )
            }
        }
        for proxy in configuration.client.trustedProxies where NetworkAddress(proxy) == nil {
            throw ConfigurationError(key: "client.trusted_proxies", why: "'\(proxy)' is no IP address")
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
