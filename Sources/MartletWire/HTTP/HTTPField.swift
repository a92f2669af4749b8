// SPDX-License-Identifier: Apache-2.0

/// The header fields of requests that Martlet reads; it checks the syntax of all others, and forgets them.
package enum HTTPField: Int, CaseIterable, Sendable {
    case host, connection, upgrade, expect, origin, authorization
    case contentLength, contentType, contentEncoding, transferEncoding
    case userAgent, forwardedFor, idempotencyKey, ifNoneMatch
    case webSocketKey, webSocketVersion, webSocketProtocol, webSocketExtensions
    case martletResume, martletSession

    /// The field's name, in lower case.
    package var name: StaticString {
        switch self {
        case .host: "host"
        case .connection: "connection"
        case .upgrade: "upgrade"
        case .expect: "expect"
        case .origin: "origin"
        case .authorization: "authorization"
        case .contentLength: "content-length"
        case .contentType: "content-type"
        case .contentEncoding: "content-encoding"
        case .transferEncoding: "transfer-encoding"
        case .userAgent: "user-agent"
        case .forwardedFor: "x-forwarded-for"
        case .idempotencyKey: "idempotency-key"
        case .ifNoneMatch: "if-none-match"
        case .webSocketKey: "sec-websocket-key"
        case .webSocketVersion: "sec-websocket-version"
        case .webSocketProtocol: "sec-websocket-protocol"
        case .webSocketExtensions: "sec-websocket-extensions"
        case .martletResume: "martlet-resume"
        case .martletSession: "martlet-session"
        }
    }

    /// Finds the field that a name, in upper or lower case, stands for.
    ///
    /// Hardly two names have the same length, so this compares one of them, or none.
    init?(_ bytes: Span<UInt8>, named range: Range<Int>) {
        switch range.count {
        case 4: self = .host
        case 6 where bytes[range.lowerBound] | 0x20 == UInt8(ascii: "o"): self = .origin
        case 6: self = .expect
        case 7: self = .upgrade
        case 10 where bytes[range.lowerBound] | 0x20 == UInt8(ascii: "u"): self = .userAgent
        case 10: self = .connection
        case 12: self = .contentType
        case 13 where bytes[range.lowerBound] | 0x20 == UInt8(ascii: "i"): self = .ifNoneMatch
        case 13: self = .authorization
        case 14 where bytes[range.lowerBound] | 0x20 == UInt8(ascii: "m"): self = .martletResume
        case 14: self = .contentLength
        case 15 where bytes[range.lowerBound] | 0x20 == UInt8(ascii: "x"): self = .forwardedFor
        case 15 where bytes[range.lowerBound] | 0x20 == UInt8(ascii: "m"): self = .martletSession
        case 15: self = .idempotencyKey
        case 16: self = .contentEncoding
        case 17 where bytes[range.lowerBound] | 0x20 == UInt8(ascii: "s"): self = .webSocketKey
        case 17: self = .transferEncoding
        case 21: self = .webSocketVersion
        case 22: self = .webSocketProtocol
        case 24: self = .webSocketExtensions
        default: return nil
        }
        guard bytes.has(anyCaseOf: name, at: range) else { return nil }
    }
}
