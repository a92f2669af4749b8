// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// Finds out which user is at the other end of a Unix socket (SO_PEERCRED, unix(7)).
package enum PeerCredentials {
    /// False in a user namespace that knows only some users (user_namespaces(7)): all others look the same there.
    package static let areUsersToldApart: Bool = {
        guard let map = try? File.read("/proc/self/uid_map", limit: 4096) else { return true }
        let numbers = String(decoding: map, as: UTF8.self).split { $0 == " " || $0 == "\n" }
        return numbers == ["0", "0", "4294967295"]
    }()

    /// The number of every user that is not known in a user namespace (proc_sys_kernel(5), overflowuid).
    private static let overflow: UInt32 = 65534

    /// Returns the user who connected; nil if the kernel does not say.
    package static func uid(of socket: Int32) -> UInt32? {
        var uid: UInt32 = 0
        // Sockets of other families have no such user, which is read as -1.
        guard unsafe martlet_peer_uid(socket, &uid) == 0, uid != UInt32.max else { return nil }
        return uid == overflow && !areUsersToldApart ? nil : uid
    }
}
