// SPDX-License-Identifier: Apache-2.0

/// The labels under which ended connections are counted: one for each of our codes, and a few for all others, so that
/// clients cannot create labels.
package enum CloseLabel {
    /// Stands for a peer that closed without a code (RFC 6455, 7.4.1).
    package static let noCode: UInt16 = 1005
    /// Stands for a connection that broke without a close frame.
    package static let abnormal: UInt16 = 1006

    package static let all: [String] =
        CloseReason.allCases.map { String($0.code) } + ["1005", "1006", "1xxx", "3xxx", "4xxx"]

    package static func index(of code: UInt16) -> Int {
        if let known = CloseReason.allCases.firstIndex(where: { $0.code == code }) { return known }
        let others = CloseReason.allCases.count
        switch code {
        case noCode: return others
        case abnormal: return others + 1
        case 3000..<4000: return others + 3
        case 4000..<5000: return others + 4
        default: return others + 2
        }
    }
}
