// SPDX-License-Identifier: Apache-2.0

internal import MartletConfiguration
internal import MartletCore
internal import MartletLinux
internal import MartletSystemd

/// The listening sockets of the node, which the service manager or we have made.
///
/// The supervisor holds them for as long as it lives, so that no connection is refused while workers come and go.
struct Listeners {
    private(set) var client: [Int32] = []
    private(set) var api: [Int32] = []
    /// The sockets that serve only the metrics.
    private(set) var metrics: [Int32] = []
    /// The control socket; -1: there is none.
    private(set) var control: Int32 = -1
    /// Where clients connect, as text for people.
    private(set) var clientAddress = ""
    private(set) var apiAddress = ""
    /// The configuration keys of the sockets that were not inherited.
    private(set) var opened: [String] = []
    /// The socket files that we have made, to be removed at the end.
    private var files: [SocketFile] = []
    var ownedPaths: [String] { files.map(\.path) }

    /// Takes inherited sockets by their names (``Purpose``) and opens what was not inherited.
    ///
    /// If something is wrong, nothing that it has made is left. `check` throws if the sockets are not right.
    init(
        _ configuration: Configuration,
        _ inherited: [Systemd.InheritedDescriptor],
        check: (Listeners) throws -> Void
    ) throws {
        do {
            try open(configuration, inherited)
            try check(self)
        } catch {
            close()
            throw error
        }
    }

    private mutating func open(_ configuration: Configuration, _ inherited: [Systemd.InheritedDescriptor]) throws {
        guard inherited.count <= Self.most else {
            throw ConfigurationError(
                key: "client.listen",
                why: "the service manager passes more than \(Self.most) sockets"
            )
        }
        for inherited in inherited { try take(inherited) }
        for descriptor in all where configuration.isDevelopment {
            if let address = NetworkAddress(localOf: descriptor), !address.isLoopback {
                let why =
                    "an inherited socket is on a network: with --dev nobody is authenticated, so it serves loopback only"
                throw ConfigurationError(key: "client.listen", why: why)
            }
        }
        clientAddress = Self.words(client)
        apiAddress = Self.words(api)
        if client.isEmpty {
            let listener = try open(configuration.client.listen, "client.listen")
            client = [listener.descriptor]
            clientAddress = "\(listener.bound)"
        }
        if api.isEmpty {
            let listener = try open(configuration.api.listen, "api.listen")
            api = [listener.descriptor]
            apiAddress = "\(listener.bound)"
        }
        if metrics.isEmpty, let address = configuration.metrics.listen {
            metrics = [try open(address, "metrics.listen").descriptor]
        }
        if control < 0, configuration.controlSocket != Configuration.noControlSocket {
            control = try open("unix:\(configuration.controlSocket)", "control_socket").descriptor
        }
    }

    /// How many sockets a service manager may pass.
    private static let most = 128

    /// The purpose of a socket, from its name: that of `FileDescriptorName=`, or that of its unit if this is not set.
    enum Purpose: String, CaseIterable {
        case client, api, control, metrics

        init?(_ name: String) {
            let unit = name.hasSuffix(".socket") ? String(name.dropLast(7)) : name
            if unit == "martlet" {
                self = .client
            } else {
                self.init(rawValue: unit.hasPrefix("martlet-") ? String(unit.dropFirst(8)) : unit)
            }
        }
    }

    private mutating func take(_ inherited: Systemd.InheritedDescriptor) throws {
        let name = inherited.name
        guard let purpose = Purpose(name) else {
            let names = Purpose.allCases.map(\.rawValue).joined(separator: ", ")
            throw ConfigurationError(
                key: "client.listen",
                why: "the service manager passes a socket named '\(name)' (\(Self.place(inherited.number))), "
                    + "which does not say what it is for: set FileDescriptorName= in its unit to one of \(names)"
            )
        }
        guard Listener.isListening(inherited.number) else {
            throw ConfigurationError(
                key: "\(purpose.rawValue).listen",
                why: "the service manager passes '\(name)', which is not a listening stream socket: "
                    + "use ListenStream= and Accept=no"
            )
        }
        guard purpose != .control || control < 0 else {
            throw ConfigurationError(key: "control_socket", why: "the service manager passes two sockets of this name")
        }
        Listener.setNonBlocking(inherited.number)
        Listener.prepare(inherited.number)
        switch purpose {
        case .client:
            guard Listener.port(of: inherited.number) != nil else {
                throw ConfigurationError(key: "client.listen", why: ConfigurationReading.onlyTCP)
            }
            client.append(inherited.number)
        case .api: api.append(inherited.number)
        case .metrics: metrics.append(inherited.number)
        case .control: control = inherited.number
        }
    }

    /// Returns where a socket listens, as text for people.
    private static func place(_ socket: Int32) -> String {
        Listener.port(of: socket).map { "port \($0)" } ?? "a Unix socket"
    }

    /// Returns where inherited sockets listen, as text for people.
    private static func words(_ sockets: [Int32]) -> String {
        let ports = sockets.compactMap { Listener.port(of: $0) }.map { "port \($0)" }
        let others = sockets.count - ports.count
        return (ports + (others > 0 ? ["a socket of the service manager"] : [])).joined(separator: ", ")
    }

    /// The URL of the demo page for a browser on this machine.
    var demoPage: String {
        guard let first = client.first, let port = Listener.port(of: first) else { return "" }
        let address = NetworkAddress(localOf: first)
        let host = address.flatMap { $0.isLoopback ? $0.text : nil } ?? "127.0.0.1"
        return "http://\(ListenAddress.tcp(address: host, port: port))/"
    }

    /// Where the metrics are served, as text for people.
    var metricsAddress: String { Self.words(metrics) }

    /// Takes over the sockets of the previous program.
    init(_ state: SupervisorState) {
        client = state.clientListeners
        api = state.apiListeners
        metrics = state.metricsListeners
        control = state.control
        clientAddress = state.clientAddress
        apiAddress = state.apiAddress
        files = state.ownedPaths.compactMap { SocketFile($0) }
        for listener in all { Listener.prepare(listener) }
    }

    /// Makes the kernel detect backends that have vanished, because they may be silent for hours between requests.
    ///
    /// Clients have their own heartbeats. `timeout` is how long a backend may pause within a request.
    func watchBackends(_ timeout: Duration) {
        let seconds = Int(clamping: timeout.components.seconds)
        for listener in api + metrics { StreamSocket.findVanished(listener, seconds: max(6, seconds)) }
    }

    private mutating func open(
        _ text: String,
        _ key: String
    ) throws(ConfigurationError) -> (descriptor: Int32, bound: ListenAddress) {
        opened.append(key)
        guard let address = ListenAddress(text) else {
            throw ConfigurationError(key: key, why: "'\(text)' is not an address")
        }
        do throws(SystemCallError) {
            let listener = try Listener.open(address)
            keepFile(of: address)
            return listener
        } catch {
            throw ConfigurationError(key: key, why: ConfigurationReading.words(error))
        }
    }

    private mutating func keepFile(of address: ListenAddress) {
        guard case .unix(let path) = address else { return }
        files.removeAll { $0.path == path }
        if let file = SocketFile(path) { files.append(file) }
    }

    // MARK: Healing

    /// What was done about a socket that somebody has shut down.
    enum Healing: Equatable {
        case listensAgain
        /// A new socket listens in its place; workers that hold the old one must be replaced.
        case replaced
        /// Only the service manager, which made the socket, can make another one.
        case lost(String)
    }

    /// The sockets on which workers accept, in the order in which workers have them.
    var all: [Int32] { client + api + metrics }

    /// Makes one of ``all`` listen again.
    ///
    /// `name` is the address that it had (``Listener/name(of:)``).
    mutating func heal(_ index: Int, name: [UInt8]) -> Healing {
        do throws(SystemCallError) {
            if Listener.port(of: all[index]) != nil {
                try Listener.listenAgain(all[index], at: name)
                return .listensAgain
            }
            guard let address = Listener.path(at: name).map({ ListenAddress.unix(path: $0) }),
                ownedPaths.contains(where: { address == .unix(path: $0) })
            else { return .lost("restart its socket unit, or whatever opened it") }
            let (descriptor, _) = try Listener.open(address)
            keepFile(of: address)
            closeDescriptor(all[index])
            replace(index, by: descriptor)
            return .replaced
        } catch {
            return .lost("\(error)")
        }
    }

    private mutating func replace(_ index: Int, by descriptor: Int32) {
        switch index {
        case ..<client.count: client[index] = descriptor
        case ..<(client.count + api.count): api[index - client.count] = descriptor
        default: metrics[index - client.count - api.count] = descriptor
        }
    }

    /// True if backends connect over a network.
    var isAPIOnNetwork: Bool { api.contains { Listener.port(of: $0) != nil } }

    /// Stops listening for clients and backends; workers hold their own copies of the same sockets until they exit.
    mutating func close() {
        for descriptor in all + [control] where descriptor >= 0 { closeDescriptor(descriptor) }
        client = []
        api = []
        metrics = []
        control = -1
        for file in files { file.remove() }
        files = []
    }
}
