// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletWire

extension Door.Settings {
    /// The settings that a worker was born with.
    init(_ contract: BirthContract, _ budget: DescriptorBudget, descriptorLimit: Int) {
        var kinds: [HTTPConnection.Kind] = Array(repeating: .client, count: Int(contract.clientListeners))
        kinds += Array(repeating: .api, count: Int(contract.apiListeners))
        kinds += Array(repeating: .metrics, count: Int(contract.metricsListeners))
        self.init(
            listeners: kinds.enumerated().map { (contract.firstListener + Int32($0), $1) },
            maxBodyBytes: Int(contract.api.maxBodyBytes),
            postPath: EventStream.path(beside: contract.client.path),
            // The largest message, or several small ones: the libraries post up to 60,000 bytes at a time.
            postBytes: max(65536, Int(contract.client.maxMessageBytes)) + 16384,
            bodyBytes: Int(contract.limits.bodyBytes),
            isDevelopment: contract.isDevelopment,
            handshakeTimeout: contract.timing.handshakeTimeout,
            timeout: contract.api.timeout,
            mostConnections: budget.http,
            descriptorReserve: descriptorLimit - budget.passing - 64
        )
    }
}
