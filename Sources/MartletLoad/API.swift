// SPDX-License-Identifier: Apache-2.0

/// Where messages are published, and the key that is shown there.
struct API: Sendable {
    let host: String
    let port: Int
    /// Nil: the server asks for none.
    let key: String?

    /// The lines of each request's head that say who asks whom.
    var fields: String {
        "Host: \(host.contains(":") ? "[\(host)]" : host):\(port)\r\n"
            + (key.map { "Authorization: Bearer \($0)\r\n" } ?? "")
    }
}
