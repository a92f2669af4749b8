/// Where the supervisor's control socket is.
///
/// It speaks the HTTP API (the same paths, without a key: who may open the socket may use it).
package enum ControlAddress {
    /// The socket of a service.
    package static let service = "/run/martlet/control.sock"

    /// The folder and socket of a development server of this user.
    ///
    /// * `runtimeDirectory`: `$XDG_RUNTIME_DIR`, where set.
    /// * `temporaryDirectory`: `$TMPDIR`, where set.
    /// * `user`: the numeric user id.
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
