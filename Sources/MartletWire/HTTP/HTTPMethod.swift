// SPDX-License-Identifier: Apache-2.0

/// What a request wants to do (RFC 9110, section 9), as far as Martlet knows it.
package enum HTTPMethod: Equatable, Sendable {
    case get, head, post, put, delete, options
    /// A valid method that nothing here supports.
    case other

    /// Reads a method; `range` is that of a token, which is in upper case if it is one that we know.
    init(_ bytes: Span<UInt8>, at range: Range<Int>) {
        if bytes.has("POST", at: range) {
            self = .post
        } else if bytes.has("GET", at: range) {
            self = .get
        } else if bytes.has("PUT", at: range) {
            self = .put
        } else if bytes.has("DELETE", at: range) {
            self = .delete
        } else if bytes.has("HEAD", at: range) {
            self = .head
        } else if bytes.has("OPTIONS", at: range) {
            self = .options
        } else {
            self = .other
        }
    }
}
