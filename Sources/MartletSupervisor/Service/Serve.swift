// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletConfiguration
internal import MartletCore
internal import MartletLinux
internal import MartletSystemd
internal import MartletWire

/// `martletd` serves until it is told to stop.
struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Serve until SIGTERM or SIGINT (the default command).")

    @Option(help: ArgumentHelp("Configuration file (YAML).", valueName: "file"))
    var config: String?

    @Flag(help: "Development mode: loopback only, users named by ?user=NAME, no API key, a demo page at /.")
    var dev = false

    @Option(help: "Worker processes; 'auto' is one per CPU.")
    var workers: String?

    @Option(help: ArgumentHelp("Where browsers connect.", valueName: "addr:port"))
    var clientListen: String?

    @Option(help: ArgumentHelp("Where backends publish: addr:port or unix:PATH.", valueName: "address"))
    var apiListen: String?

    @Option(help: ArgumentHelp("Where martletctl connects.", valueName: "path"))
    var controlSocket: String?

    @Flag(
        help: ArgumentHelp(
            "Let the workers outlive this process: SIGTERM ends only this process, and the next one takes them over.",
            discussion:
                "Needs a service manager that keeps their descriptors (FileDescriptorStoreMax=, KillMode=process)."
        )
    )
    var keepWorkers = false

    @Flag(help: ArgumentHelp("Say whether a running supervisor could become this program.", visibility: .hidden))
    var checkState = false

    func run() throws {
        // This happens before a secret is read.
        if !dev { CurrentProcess.hideMemory() }
        if checkState {
            if StateCheck.run(settings) { return }
            throw ExitCode(1)
        }
        try Martletd.report {
            let serve = self
            let resumption = try Resumption()
            let (configuration, secrets): (Configuration, SecretReading)
            do {
                (configuration, secrets) =
                    try resumption.map { try StateCheck.check($0.state, settings) } ?? usableSettings()
            } catch {
                resumption?.fallBack(error)
                throw error
            }
            try Supervisor.run(configuration, secrets, resuming: resumption, isStoring: keepWorkers) {
                try serve.settings()
            }
        }
    }

    /// Reads the settings; while workers of the previous process serve, a bad configuration does not end them.
    ///
    /// In that case it is read again and again, until it is good or the service manager loses patience with this start.
    private func usableSettings() throws(ConfigurationError) -> (Configuration, SecretReading) {
        var said = ""
        while true {
            do throws(ConfigurationError) {
                return try settings()
            } catch {
                guard keepWorkers, Systemd.inheritedNames.contains(DescriptorStore.stateName) else { throw error }
                if said != "\(error)" {
                    said = "\(error)"
                    CurrentProcess.printError(
                        Printable.text("martletd: \(error); the existing workers keep serving, and this is retried")
                    )
                    Systemd.notify("STATUS=Workers keep serving, but the configuration cannot be used: \(error)")
                }
                CurrentProcess.pause(milliseconds: 500)
            }
        }
    }

    private func settings() throws(ConfigurationError) -> (Configuration, SecretReading) {
        var flags: [String: String] = [:]
        flags["workers"] = workers
        flags["client.listen"] = clientListen
        flags["api.listen"] = apiListen
        flags["control_socket"] = controlSocket
        var defaults = dev ? Configuration.development : Configuration()
        if dev { defaults.controlSocket = Self.developmentControlSocket.socket }
        let reading = ConfigurationReading(file: config, flags: flags, over: defaults)
        if let problem = reading.problems.first { throw problem }
        if dev, reading.configuration.controlSocket == Self.developmentControlSocket.socket {
            try makeControlFolder()
        }
        return (reading.configuration, try reading.checked())
    }

    static var developmentControlSocket: (folder: String, socket: String) {
        ControlAddress.development(
            runtimeDirectory: CurrentProcess.environment("XDG_RUNTIME_DIR"),
            temporaryDirectory: CurrentProcess.environment("TMPDIR"),
            user: CurrentProcess.effectiveUser
        )
    }

    private func makeControlFolder() throws(ConfigurationError) {
        do throws(SystemCallError) {
            try File.makeDirectory(Self.developmentControlSocket.folder, mode: 0o700)
        } catch {
            throw ConfigurationError(key: "control_socket", why: "\(error): choose another one with --control-socket")
        }
    }
}
