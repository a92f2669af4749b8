/// The labels under which ended connections are counted: every code of ours, and a few for all others, so that clients
/// cannot make labels.
package enum CloseLabel {
    /// The peer closed without a code (RFC 6455, 7.4.1), and the connection broke without a close frame.
    package static let noCode: UInt16 = 1005
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
