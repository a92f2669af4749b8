// SPDX-License-Identifier: Apache-2.0

internal import CZlib

/// Compresses and expands messages for permessage-deflate (RFC 7692), each on its own.
///
/// Neither direction keeps a context from one message to the next (`server_no_context_takeover`,
/// `client_no_context_takeover`). So a message is compressed once for all connections, a connection needs no memory for
/// this, and nothing is lost when its worker is replaced. One object serves a whole worker.
@safe
package final class MessageDeflate {
    package enum Failure: Error, Equatable, Sendable {
        /// The data were not made by a compressor.
        case malformed
        /// The data expand to more than a message may have.
        case tooLarge
    }

    /// The bytes at the end of every compressed message, which are not sent (RFC 7692, 7.2.1).
    private static let tail: [UInt8] = [0x00, 0x00, 0xFF, 0xFF]
    /// A level that is faster than zlib's default, with only slightly larger results: messages are short.
    private static let level: Int32 = 3
    private static let keptOutput = 262_144

    /// The smallest window that a client may ask for, as a power of two.
    package static let smallestWindow = 8
    package static let largestWindow = 15

    /// A compressor for each window, beginning with the smallest; each is made when it is first needed.
    private var deflating: [UnsafeMutablePointer<z_stream>?]
    private let inflating: UnsafeMutablePointer<z_stream>
    private var output = UnsafeMutableRawBufferPointer.allocate(byteCount: 16384, alignment: 16)

    /// Makes a compressor and an expander; nil if there is no memory for them (some 300 KiB).
    package init?() {
        unsafe deflating = Array(repeating: nil, count: Self.largestWindow - Self.smallestWindow + 1)
        unsafe inflating = .allocate(capacity: 1)
        unsafe inflating.initialize(to: z_stream())
        let size = unsafe Int32(MemoryLayout<z_stream>.size)
        // Negative window bits mean that there is no zlib header (only RFC 1951).
        guard unsafe inflateInit2_(inflating, -15, ZLIB_VERSION, size) == Z_OK else { return nil }
        guard unsafe compressor(Self.largestWindow) != nil else { return nil }
    }

    /// Returns the compressor for a window; nil if there is no memory for it.
    private func compressor(_ window: Int) -> UnsafeMutablePointer<z_stream>? {
        let index = window - Self.smallestWindow
        if let known = unsafe deflating[index] { return unsafe known }
        let made = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        unsafe made.initialize(to: z_stream())
        // zlib has no window of 256 bytes; but data without references to earlier bytes suit any window.
        let strategy = window == Self.smallestWindow ? Z_HUFFMAN_ONLY : Z_DEFAULT_STRATEGY
        let result = unsafe deflateInit2_(
            made,
            Self.level,
            Z_DEFLATED,
            -Int32(max(window, 9)),
            8,
            strategy,
            ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size)
        )
        guard result == Z_OK else {
            unsafe made.deallocate()
            return nil
        }
        unsafe deflating[index] = made
        return unsafe made
    }

    /// Compresses a payload into `target`, and returns its length; nil if it would not be shorter than `target`.
    ///
    /// `window` is the largest distance of a reference, as a power of two: ``smallestWindow`` to ``largestWindow``.
    @unsafe
    package func compress(
        _ payload: UnsafeRawBufferPointer,
        window: Int = MessageDeflate.largestWindow,
        into target: UnsafeMutableRawBufferPointer
    ) -> Int? {
        guard let deflating = unsafe compressor(window), unsafe deflateReset(deflating) == Z_OK else { return nil }
        unsafe deflating.pointee.next_in = UnsafeMutablePointer(
            mutating: payload.baseAddress?.assumingMemoryBound(to: UInt8.self)
        )
        unsafe deflating.pointee.avail_in = UInt32(payload.count)
        unsafe deflating.pointee.next_out = target.baseAddress?.assumingMemoryBound(to: UInt8.self)
        unsafe deflating.pointee.avail_out = UInt32(target.count)
        guard unsafe deflate(deflating, Z_SYNC_FLUSH) == Z_OK, unsafe deflating.pointee.avail_in == 0,
            unsafe deflating.pointee.avail_out > 0
        else { return nil }
        let length = unsafe target.count - Int(deflating.pointee.avail_out) - Self.tail.count
        return length > 0 ? length : nil
    }

    /// Expands a payload, to at most `maximum` bytes; the result is valid until the next call.
    @unsafe
    package func expand(
        _ payload: UnsafeRawBufferPointer,
        maximum: Int
    ) throws(Failure) -> UnsafeMutableRawBufferPointer {
        guard unsafe inflateReset(inflating) == Z_OK else { throw .malformed }
        if unsafe output.count > Self.keptOutput { resize(to: Self.keptOutput, keeping: 0) }
        var length = 0
        unsafe try feed(payload, &length, maximum)
        var tail = Self.tail
        let failure: Failure? = unsafe tail.withUnsafeMutableBytes { bytes in
            do throws(Failure) {
                unsafe try feed(UnsafeRawBufferPointer(bytes), &length, maximum)
                return nil
            } catch {
                return error
            }
        }
        if let failure { throw failure }
        return unsafe UnsafeMutableRawBufferPointer(rebasing: output[..<length])
    }

    private func feed(_ input: UnsafeRawBufferPointer, _ length: inout Int, _ maximum: Int) throws(Failure) {
        unsafe inflating.pointee.next_in = UnsafeMutablePointer(
            mutating: input.baseAddress?.assumingMemoryBound(to: UInt8.self)
        )
        unsafe inflating.pointee.avail_in = UInt32(input.count)
        var hasRoom = true
        // When the output is full, there may be more to come, although all input was taken.
        while unsafe inflating.pointee.avail_in > 0 || !hasRoom {
            if unsafe length == output.count {
                guard length <= maximum else { throw .tooLarge }
                unsafe resize(to: min(2 * output.count, maximum + 1), keeping: length)
            }
            let room = unsafe output.count - length
            unsafe inflating.pointee.next_out = (output.baseAddress.map { unsafe $0 + length })?
                .assumingMemoryBound(to: UInt8.self)
            unsafe inflating.pointee.avail_out = UInt32(room)
            let result = unsafe inflate(inflating, Z_SYNC_FLUSH)
            hasRoom = unsafe inflating.pointee.avail_out > 0
            let isStuck = unsafe result == Z_BUF_ERROR && hasRoom && inflating.pointee.avail_in > 0
            length += unsafe room - Int(inflating.pointee.avail_out)
            guard length <= maximum else { throw .tooLarge }
            // A final block ends the data (RFC 7692, 7.2.3.4 allows this): what follows begins anew.
            if result == Z_STREAM_END {
                guard unsafe inflateReset(inflating) == Z_OK else { throw .malformed }
            } else if isStuck || (result != Z_OK && result != Z_BUF_ERROR) {
                throw .malformed
            }
        }
    }

    private func resize(to size: Int, keeping count: Int) {
        let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: max(size, 16384), alignment: 16)
        unsafe larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: output[..<count]))
        unsafe output.deallocate()
        unsafe output = larger
    }

    deinit {
        for index in unsafe deflating.indices {
            guard let made = unsafe deflating[index] else { continue }
            unsafe deflateEnd(made)
            unsafe made.deallocate()
        }
        unsafe inflateEnd(inflating)
        unsafe inflating.deallocate()
        unsafe output.deallocate()
    }
}
