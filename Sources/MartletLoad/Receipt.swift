// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// The answer to a publish: `{"matched":3,"delivered":2,"held":1,"failed":0}`.
struct Receipt {
    let matched: Int
    let delivered: Int
    /// What sessions keep for clients that are away; servers without sessions do not say.
    let held: Int
    let failed: Int

    init?(_ text: String) {
        func number(_ name: String) -> Int? {
            guard let mark = text.range(of: "\"\(name)\":") else { return nil }
            return Int(text[mark.upperBound...].prefix { $0.isNumber })
        }
        guard let matched = number("matched"), let delivered = number("delivered"), let failed = number("failed")
        else { return nil }
        (self.matched, self.delivered, self.held, self.failed) = (matched, delivered, number("held") ?? 0, failed)
    }

    /// Whether each connection that was found has the message, or will get it.
    var isWhole: Bool { matched == delivered + held && failed == 0 }
}
