// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletWire

/// The part of the configuration that only a new start of the service can change: sockets, and sizes of shared memory.
struct StartOnly: Record, Equatable {
    /// Keys and their values as text, in a fixed order.
    private var values: [(key: String, value: String)]
    private var connections: Int
    /// Whether each key had a value when this was read.
    private(set) var isWhole = true
    private var countsAddresses: Bool

    init(_ configuration: Configuration) {
        values = [
            ("workers", configuration.workers.map(String.init) ?? "auto"),
            ("client.listen", configuration.client.listen), ("api.listen", configuration.api.listen),
            ("control_socket", configuration.controlSocket),
            // Older programs, which do not know this key, see only those above.
            ("metrics.listen", configuration.metrics.listen ?? ""),
        ]
        connections = configuration.limits.connections
        countsAddresses = configuration.limits.connectionsPerAddress > 0
    }

    /// Returns the first key because of which a service with these values cannot go on with the other ones.
    func firstObstacle(to other: StartOnly) -> String? {
        // A key that a program does not know is not set there.
        for key in values.map(\.key) + other.values.map(\.key) where value(key) != other.value(key) { return key }
        // The sizes of the arenas and of the board depend on these.
        if other.connections > connections { return "limits.connections" }
        if other.countsAddresses, !countsAddresses { return "limits.connections_per_address" }
        return nil
    }

    private func value(_ key: String) -> String { values.first { $0.key == key }?.value ?? "" }

    static func == (left: StartOnly, right: StartOnly) -> Bool {
        left.firstObstacle(to: right) == nil && right.firstObstacle(to: left) == nil
    }

    /// Nothing yet, to be filled by a reader.
    init() {
        (values, connections, countsAddresses) = ([], 0, false)
    }

    mutating func code<Coder: FieldCoder>(_ coder: inout Coder) throws(Coder.Problem) {
        var texts = values.flatMap { [$0.key, $0.value] }
        try coder.code(&texts)
        isWhole = texts.count.isMultiple(of: 2)
        values = stride(from: 0, to: texts.count, by: 2).map { (texts[$0], $0 + 1 < texts.count ? texts[$0 + 1] : "") }
        try coder.code(&connections)
        try coder.code(&countsAddresses)
    }
}
