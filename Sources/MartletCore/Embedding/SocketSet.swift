// SPDX-License-Identifier: Apache-2.0

/// A ``Transport`` over sockets that are objects of an application.
///
/// It lives on its manager's executor. A socket is held from ``insert(_:)`` until it is closed or removed.
package final class SocketSet: Transport {
    private var sockets: [Int: any ClientSocket] = [:]
    private var frames: [UInt32: String] = [:]
    private var lastHandle = 0
    private var lastFrame: UInt32 = 0

    package init() {}

    /// Adds a socket, and returns its handle.
    package func insert(_ socket: any ClientSocket) -> Int {
        lastHandle += 1
        sockets[lastHandle] = socket
        return lastHandle
    }

    /// Returns the handle of a socket; nil if the socket is not in the set (any more).
    package func handle(of socket: any ClientSocket) -> Int? {
        sockets.first { $0.value === socket }?.key
    }

    /// Lets go of a socket.
    package func remove(_ handle: Int) { sockets.removeValue(forKey: handle) }

    package var count: Int { sockets.count }

    package func prepare(_ text: Span<UInt8>) throws(SendFailure) -> PreparedFrame {
        let bytes = unsafe text.withUnsafeBufferPointer { unsafe Array($0) }
        guard let message = String(validating: bytes, as: UTF8.self) else { throw .notEncodable }
        lastFrame &+= 1
        frames[lastFrame] = message
        return PreparedFrame(reference: lastFrame, byteCount: UInt32(text.count))
    }

    package func send(_ frame: PreparedFrame, to handle: Int) -> SendOutcome {
        guard let socket = sockets[handle], let text = frames[frame.reference] else { return .failed(.closed) }
        return socket.send(text).map(SendOutcome.failed) ?? .queued
    }

    package func release(_ frame: PreparedFrame) { frames.removeValue(forKey: frame.reference) }

    package func close(_ handle: Int, code: UInt16, reason: String) {
        sockets.removeValue(forKey: handle)?.close(code: code, reason: reason)
    }

    package func isOpen(_ handle: Int) -> Bool { sockets[handle]?.isOpen ?? false }

    package func queuedBytes(_ handle: Int) -> Int { 0 }
}
