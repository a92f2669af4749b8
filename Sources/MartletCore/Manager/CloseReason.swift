// SPDX-License-Identifier: Apache-2.0

/// Why a WebSocket is closed: the only list of close codes (RFC 6455, section 7.4; 4000-4999 are ours).
package enum CloseReason: UInt16, Error, CaseIterable, Sendable {
    case normal = 1000
    case goingAway = 1001
    case protocolError = 1002
    case unsupportedData = 1003
    case invalidText = 1007
    case policyViolation = 1008
    case messageTooBig = 1009
    case internalError = 1011
    case serviceRestart = 1012
    case tryAgainLater = 1013
    case badRequest = 4400
    case tokenExpired = 4401
    case forbidden = 4403
    case heartbeatTimeout = 4408
    case replaced = 4409
    case tooManyMessages = 4429
    case tooSlow = 4508

    package var code: UInt16 { rawValue }

    /// What the close frame tells the client to do; at most 123 bytes.
    package var advice: String {
        switch self {
        case .normal: "closed on request"
        case .goingAway: "the service is stopping: reconnect in a moment"
        case .protocolError: "the client broke the WebSocket protocol: fix the client"
        case .unsupportedData: "binary messages are not accepted here: send JSON text"
        case .invalidText: "a text message was not UTF-8: fix the client"
        case .policyViolation: "not allowed here"
        case .messageTooBig: "the message is larger than this server accepts: send less"
        case .internalError: "the server failed: reconnect"
        case .serviceRestart: "the connection could not be kept: reconnect"
        case .tryAgainLater: "the server is full: reconnect later"
        case .badRequest: "the request made no sense: fix the client"
        case .tokenExpired: "the token is invalid or has expired: get a new one, then reconnect"
        case .forbidden: "this user may not do that"
        case .heartbeatTimeout: "no answer to a ping: reconnect"
        case .replaced: "a newer connection took this one's place: do not reconnect"
        case .tooManyMessages: "too many messages: slow down, then reconnect"
        case .tooSlow: "the client reads too slowly and its queue overflowed: reconnect"
        }
    }

    /// True if a session whose socket we close for this reason waits for its client; else it ends.
    package var leavesSession: Bool {
        switch self {
        case .internalError, .serviceRestart, .tryAgainLater, .tokenExpired, .heartbeatTimeout: true
        default: false
        }
    }

    /// True if a session waits for its client after a close frame from that client; nil: without a code.
    ///
    /// The client itself has closed it for good, unless it says that its socket was dead (4408), or something broke.
    package static func leavesSession(fromClient code: UInt16?) -> Bool {
        switch code ?? CloseReason.normal.code {
        case 1000, 1001, 3000...4407, 4409...4999: false
        default: true
        }
    }

    /// True for a code that an application may ask us to close with (RFC 6455, 7.4.2).
    package static func isAllowedFromApplication(_ code: UInt16) -> Bool {
        code == 1000 || code == 1001 || code == 1008 || (3000...4999).contains(code)
    }

    /// True for a code that a peer may put into a close frame (RFC 6455, 7.4.1).
    package static func isAllowedOnWire(_ code: UInt16) -> Bool {
        (1000...1003).contains(code) || (1007...1014).contains(code) || (3000...4999).contains(code)
    }
}
