// SPDX-License-Identifier: Apache-2.0

internal import CMartletLinux
internal import Glibc

/// Makes listening sockets, accepts from them, and connects to them.
package enum Listener {
    /// How many completed connections the kernel keeps for us to accept.
    private static let backlog: Int32 = 4096

    /// Opens a listening, non-blocking socket, and returns it with its address, which has the real port if 0 was given.
    ///
    /// Its connections send small writes at once. If the path is a socket that nobody listens on any more, it is
    /// replaced; any other file is an error (EEXIST), and stays.
    package static func open(
        _ address: ListenAddress,
        unixMode: UInt32 = 0o660
    ) throws(SystemCallError) -> (descriptor: Int32, bound: ListenAddress) {
        switch address {
        case .tcp(let host, let port):
            var bound: UInt16 = 0
            let descriptor = unsafe martlet_listen_tcp(host, port, backlog, &bound)
            guard descriptor >= 0 else { throw .last("listen on \(address)") }
            prepare(descriptor)
            return (descriptor, .tcp(address: host, port: bound))
        case .unix(let path):
            var descriptor = unsafe martlet_listen_unix(path, unixMode, backlog)
            if descriptor < 0, errno == EADDRINUSE {
                guard SocketFile(path) != nil else { throw SystemCallError("listen on \(address)", EEXIST) }
                if isStale(path) {
                    unsafe unlink(path)
                    descriptor = unsafe martlet_listen_unix(path, unixMode, backlog)
                } else {
                    errno = EADDRINUSE
                }
            }
            guard descriptor >= 0 else { throw .last("listen on \(address)") }
            return (descriptor, address)
        }
    }

    /// Sets what connections inherit: small writes are sent at once, and urgent bytes are read like all others.
    ///
    /// This has no effect on a Unix socket, and is not an error.
    package static func prepare(_ listener: Int32) {
        StreamSocket.setNoDelay(listener)
        StreamSocket.setUrgentInline(listener)
    }

    /// Returns the address that a socket is bound to in the kernel's form, for ``listenAgain(_:at:)``.
    package static func name(of listener: Int32) -> [UInt8] {
        var name = [UInt8](repeating: 0, count: 128)
        let length = unsafe name.withUnsafeMutableBytes { unsafe martlet_local_name(listener, $0.baseAddress, 128) }
        return Array(name.prefix(max(0, Int(length))))
    }

    /// Returns the path in such an address; nil if it is not the address of a Unix socket with a file.
    package static func path(at name: [UInt8]) -> String? {
        guard name.count > 2, UInt16(name[0]) | UInt16(name[1]) << 8 == UInt16(AF_UNIX), name[2] != 0 else {
            return nil
        }
        return String(decoding: name[2...].prefix { $0 != 0 }, as: UTF8.self)
    }

    /// Makes a TCP socket listen again after another holder has shut it down, which ended accepting for everybody.
    ///
    /// `name` is the address that it had. There is no such call for a Unix socket.
    package static func listenAgain(_ listener: Int32, at name: [UInt8]) throws(SystemCallError) {
        let result = unsafe name.withUnsafeBytes {
            unsafe martlet_listen_again(listener, $0.baseAddress, Int32($0.count), backlog)
        }
        guard result == 0 else { throw .last("listen") }
    }

    /// A connection that was accepted, and where it comes from; a Unix socket has no address.
    package struct Accepted: Equatable, Sendable {
        package let descriptor: Int32
        package let address: NetworkAddress?

        package init(descriptor: Int32, address: NetworkAddress?) {
            self.descriptor = descriptor
            self.address = address
        }
    }

    /// Accepts the next connection that waits, as non-blocking and close-on-exec; nil when none waits.
    package static func accept(_ listener: Int32) throws(SystemCallError) -> Accepted? {
        var isKnown: Int32 = 0
        var bytes = InlineArray<16, UInt8>(repeating: 0)
        var span = bytes.mutableSpan
        let descriptor = unsafe span.withUnsafeMutableBufferPointer { buffer in
            unsafe martlet_accept(listener, buffer.baseAddress, &isKnown)
        }
        if descriptor >= 0 {
            return Accepted(descriptor: descriptor, address: isKnown == 1 ? NetworkAddress(bytes) : nil)
        }
        switch errno {
        case EAGAIN: return nil
        default: throw .last("accept4")
        }
    }

    /// Makes a blocking connection, for command-line tools and tests.
    package static func connect(to address: ListenAddress) throws(SystemCallError) -> OwnedDescriptor {
        let descriptor =
            switch address {
            case .tcp(let host, let port): unsafe martlet_connect_tcp(host, port)
            case .unix(let path): unsafe martlet_connect_unix(path)
            }
        guard descriptor >= 0 else { throw .last("connect to \(address)") }
        return OwnedDescriptor(owning: descriptor)
    }

    /// Throws if nobody on this machine could listen on an address, now or later.
    ///
    /// Reasons are an address that the machine does not have, a folder that does not exist, or a file in the way. It is
    /// not an error that somebody already listens there.
    package static func check(_ address: ListenAddress) throws(SystemCallError) {
        switch address {
        case .tcp(let host, let port):
            var bound: UInt16 = 0
            let descriptor = unsafe martlet_listen_tcp(host, port, -1, &bound)
            if descriptor >= 0 { return closeDescriptor(descriptor) }
            guard errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT || errno == EINVAL else { return }
            throw .last("listen on \(address)")
        case .unix(let path):
            let folder = path.prefix(through: path.lastIndex(of: "/") ?? path.startIndex)
            guard File.isDirectory(String(folder)) else { throw SystemCallError("listen on \(address)", ENOENT) }
            if File.exists(path), SocketFile(path) == nil { throw SystemCallError("listen on \(address)", EEXIST) }
        }
    }

    /// Returns true if a descriptor that we inherited really is a listening stream socket.
    package static func isListening(_ descriptor: Int32) -> Bool { martlet_is_listening(descriptor) == 1 }

    /// Returns the port of an inherited TCP listener, or nil for a Unix socket.
    package static func port(of descriptor: Int32) -> UInt16? {
        UInt16(exactly: martlet_local_port(descriptor))
    }

    package static func setNonBlocking(_ descriptor: Int32) { _ = martlet_set_non_blocking(descriptor) }

    private static func isStale(_ path: String) -> Bool {
        let probe = unsafe martlet_connect_unix(path)
        if probe >= 0 {
            closeDescriptor(probe)
            return false
        }
        return errno == ECONNREFUSED
    }
}
