// SPDX-License-Identifier: Apache-2.0

extension HTTPRequest {
    /// Calls `body` with the token in `Authorization: Bearer` (RFC 6750, 2.1).
    ///
    /// Returns nil if there is none, or only another scheme, which has nothing to do with our tokens.
    package func withBearerToken<Result>(_ body: (Span<UInt8>) -> Result) -> Result? {
        var result: Result?
        forEachValue(of: .authorization) { value in
            var scheme = 0
            while scheme < value.count, value[scheme] != 0x20, value[scheme] != 0x09 { scheme += 1 }
            guard result == nil, value.has(anyCaseOf: "bearer", at: 0..<scheme) else { return }
            result = body(value.extracting(value.trimmed(scheme..<value.count)))
        }
        return result
    }

    /// The token in `Authorization: Bearer`; nil if there is none.
    package var bearerToken: String? { withBearerToken { $0.text(at: 0..<$0.count) } }
}
