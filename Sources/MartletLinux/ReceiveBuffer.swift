// SPDX-License-Identifier: Apache-2.0

/// Memory into which one thread receives from all its sockets, so that none of them holds room for what may come.
@safe
package struct ReceiveBuffer: ~Copyable {
    private let memory: UnsafeMutableRawBufferPointer

    /// Makes a buffer; `capacity` is the most that one call receives.
    package init(capacity: Int) {
        unsafe memory = .allocate(byteCount: capacity, alignment: 64)
    }

    /// Receives at most `room` bytes, and no more than the buffer holds, and appends them to an array.
    package func receive(_ socket: Int32, appendingTo bytes: inout [UInt8], room: Int) -> StreamOutcome {
        guard let start = unsafe memory.baseAddress else { return .wouldBlock }
        let outcome = unsafe StreamSocket.receive(socket, start, min(room, memory.count))
        if case .moved(let count) = outcome {
            unsafe bytes.append(contentsOf: UnsafeRawBufferPointer(start: start, count: count))
        }
        return outcome
    }

    deinit {
        unsafe memory.deallocate()
    }
}
