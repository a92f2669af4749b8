internal import MartletCore
internal import MartletLinux
internal import MartletSystemd

/// The listening sockets of the node: the service manager's, or our own.
///
/// The supervisor holds them for as long as it lives, so that no connection is refused while workers come and go.
struct Listeners {
    private(set) var client: [Int32] = []
    private(set) var api: [Int32] = []
    private(set) var control: Int32 = -1
    /// Where clients and backends connect, for people.
    private(set) var clientAddress = ""
    private(set) var apiAddress = ""
    /// The keys of those that were not inherited.
    private(set) var opened: [String] = []
    /// A socket file of ours, to be removed at the end.
    private(set) var ownedPaths: [String] = []

    /// Takes inherited sockets by their names (`client`, `api`, `control`) and opens what was not inherited.
    init(_ configuration: Configuration, _ inherited: [Systemd.InheritedDescriptor]) throws {
        for inherited in inherited {
            guard Listener.isListening(inherited.number) else {
                closeDescriptor(inherited.number)
                continue
            }
            Listener.setNonBlocking(inherited.number)
            Listener.prepare(inherited.number)
            switch inherited.name {
            case "client":
                guard Listener.port(of: inherited.number) != nil else {
                    throw ConfigurationError(key: "client.listen", why: Self.onlyTCP)
                }
                client.append(inherited.number)
            case "api": api.append(inherited.number)
            case "control" where control < 0: control = inherited.number
            default: closeDescriptor(inherited.number)
            }
        }
        for descriptor in client + api where configuration.isDevelopment {
            if let address = NetworkAddress(localOf: descriptor), !address.isLoopback {
                let why =
                    "an inherited socket is on a network: with --dev nobody is checked, so it serves loopback only"
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
        if control < 0 {
            control = try open("unix:\(configuration.controlSocket)", "control_socket").descriptor
        }
    }

    /// Where inherited sockets listen.
    private static func words(_ sockets: [Int32]) -> String {
        let ports = sockets.compactMap { Listener.port(of: $0) }.map { "port \($0)" }
        let others = sockets.count - ports.count
        return (ports + (others > 0 ? ["a socket of the service manager"] : [])).joined(separator: ", ")
    }

    /// Where a browser on this machine finds the demo page.
    var demoPage: String { "http://127.0.0.1:\(client.compactMap { Listener.port(of: $0) }.first ?? 0)/" }

    /// The sockets that the program before us had.
    init(_ state: SupervisorState) {
        client = state.clientListeners
        api = state.apiListeners
        control = state.control
        clientAddress = state.clientAddress
        apiAddress = state.apiAddress
        ownedPaths = state.ownedPaths
        for listener in client + api { Listener.prepare(listener) }
    }

    /// Has the kernel find backends that have vanished: they keep connections for hours and say nothing between requests.
    ///
    /// Clients have their own heartbeats. `timeout`: how long a backend may be silent within a request.
    func watchBackends(_ timeout: Duration) {
        let seconds = Int(clamping: timeout.components.seconds)
        for listener in api { StreamSocket.findVanished(listener, seconds: max(6, seconds)) }
    }

    /// The kernel counts the bytes of TCP, by which a connection outlives its worker, and of nothing else.
    static let onlyTCP = "clients connect over TCP: put the proxy on 127.0.0.1"

    private mutating func open(
        _ text: String,
        _ key: String
    ) throws(ConfigurationError) -> (descriptor: Int32, bound: ListenAddress) {
        opened.append(key)
        guard let address = ListenAddress(text) else {
            throw ConfigurationError(key: key, why: "'\(text)' is no address")
        }
        do throws(SystemCallError) {
            let listener = try Listener.open(address)
            if case .unix(let path) = address { ownedPaths.append(path) }
            return listener
        } catch {
            let hint = error.isAddressInUse ? " (is another martletd running?)" : ""
            throw ConfigurationError(key: key, why: "\(error)\(hint)")
        }
    }

    // MARK: Healing

    /// What became of a socket that somebody has shut down.
    enum Healing: Equatable {
        case listensAgain
        /// A new one listens in its place; workers that hold the old one must be replaced.
        case replaced
        /// Only whoever made it can make another one.
        case lost(String)
    }

    /// Clients' and backends' sockets.
    var all: [Int32] { client + api }

    /// Has one of ``all`` listen again.
    ///
    /// `name`: its address of before (``Listener/name(of:)``).
    mutating func heal(_ index: Int, name: [UInt8]) -> Healing {
        do throws(SystemCallError) {
            if Listener.port(of: all[index]) != nil {
                try Listener.listenAgain(all[index], at: name)
                return .listensAgain
            }
            // Clients connect over TCP, so it is a backends' socket; of those we open one.
            guard let path = ownedPaths.first(where: { apiAddress == "unix:\($0)" }) else {
                return .lost("restart its socket unit, or whatever opened it")
            }
            let (descriptor, _) = try Listener.open(.unix(path: path))
            closeDescriptor(api[index - client.count])
            api[index - client.count] = descriptor
            return .replaced
        } catch {
            return .lost("\(error)")
        }
    }

    /// True where backends connect over a network.
    var isAPIOnNetwork: Bool { api.contains { Listener.port(of: $0) != nil } }

    /// Stops listening for clients and backends; workers hold their own numbers of the same sockets until they exit.
    mutating func close() {
        for descriptor in client + api + [control] where descriptor >= 0 { closeDescriptor(descriptor) }
        client = []
        api = []
        control = -1
        for path in ownedPaths { File.remove(path) }
        ownedPaths = []
    }
}
