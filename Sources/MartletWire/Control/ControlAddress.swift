// SPDX-License-Identifier: Apache-2.0

/// Where the supervisor's control socket is.
///
/// It serves the HTTP API, with the same paths and without a key: anyone who may open the socket may use it.
package enum ControlAddress {
    /// The socket of a service.
    package static let service = "/run/martlet/control.sock"

    /// Returns the folder and the socket of a user's development server.
    ///
    /// - Parameters:
    ///   - runtimeDirectory: `$XDG_RUNTIME_DIR`, if it is set.
    ///   - temporaryDirectory: `$TMPDIR`, if it is set.
    ///   - user: The numeric user id.
    /// - Returns: The paths of the folder and of the socket.
    package static func development(
        runtimeDirectory: String?,
        temporaryDirectory: String?,
        user: UInt32
    ) -> (folder: String, socket: String) {
        let folder: String
        if let runtimeDirectory, !runtimeDirectory.isEmpty {
            folder = "\(runtimeDirectory)/martlet"
        } else {
            var base = temporaryDirectory.flatMap { $0.isEmpty ? nil : $0 } ?? "/tmp"
            while base.count > 1, base.hasSuffix("/") { base.removeLast() }
            folder = "\(base)/martlet-\(user)"
        }
        return (folder, "\(folder)/control.sock")
    }
}
