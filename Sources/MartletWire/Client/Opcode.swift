// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// What a WebSocket frame carries (RFC 6455, section 5.2).
package enum Opcode: UInt8, Sendable {
    case continuation = 0
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10

    package var isControl: Bool { rawValue >= 8 }
}
