// SPDX-License-Identifier: Apache-2.0

extension SocketTable {
    /// Why a socket did not become a connection.
    enum Refusal: Error {
        case full
        /// The kernel's count of bytes differs from what was read, so no successor could go on with the connection.
        case miscounted
        /// What the client has not received takes too much memory in the form that it takes now.
        case overflow
    }
}
