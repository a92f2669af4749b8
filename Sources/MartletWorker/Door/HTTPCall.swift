// SPDX-License-Identifier: Apache-2.0

internal import MartletWire

/// A request that was read whole, and the connection that gets the answer.
struct HTTPCall {
    let connection: HTTPConnection
    let request: HTTPRequest
    /// Which of the connection's requests it is; the answer carries the same number.
    let number: Int
    /// Where the body lies in the connection's input.
    let body: Range<Int>
}
