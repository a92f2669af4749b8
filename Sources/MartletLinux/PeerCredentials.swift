internal import CMartletLinux
internal import Glibc

/// Who is at the other end of a Unix socket (SO_PEERCRED, unix(7)).
package enum PeerCredentials {
    /// False in a user namespace that knows some users only (user_namespaces(7)): all others look alike there.
    package static let areUsersToldApart: Bool = {
        guard let map = try? File.read("/proc/self/uid_map", limit: 4096) else { return true }
        let numbers = String(decoding: map, as: UTF8.self).split { $0 == " " || $0 == "\n" }
        return numbers == ["0", "0", "4294967295"]
    }()

    /// What every user is who is not known in a user namespace (proc_sys_kernel(5), overflowuid).
    private static let overflow: UInt32 = 65534

    /// The user who connected; nil where the kernel does not say.
    package static func uid(of socket: Int32) -> UInt32? {
        var uid: UInt32 = 0
        // Sockets of other families have nobody there, which reads as -1.
        guard unsafe martlet_peer_uid(socket, &uid) == 0, uid != UInt32.max else { return nil }
        return uid == overflow && !areUsersToldApart ? nil : uid
    }
}
