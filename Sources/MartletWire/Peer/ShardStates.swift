// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// The state of every shard, in order, which the supervisor sends to its workers whenever one changes.
package struct ShardStates: Equatable, Sendable {
    package var states: [ShardState]

    package init(_ states: [ShardState]) {
        self.states = states
    }

    package init(_ bytes: [UInt8], in range: Range<Int>) throws(WireError) {
        var list: [ShardState] = []
        for byte in bytes[range] {
            guard let state = ShardState(rawValue: byte) else { throw .unknownValue }
            list.append(state)
        }
        states = list
    }

    package var bytes: [UInt8] { states.map(\.rawValue) }
}
