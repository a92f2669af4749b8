internal import CZlib

/// Compresses and expands messages for permessage-deflate (RFC 7692), each by itself.
///
/// Neither direction keeps a context from one message to the next (`server_no_context_takeover`,
/// `client_no_context_takeover`): so a message is compressed once for all connections, a connection costs no memory for
/// it, and nothing is lost when its worker is replaced. One of these serves a whole worker.
@safe
package final class MessageDeflate {
    package enum Failure: Error, Equatable, Sendable {
        /// The data are none that a compressor made.
        case malformed
        /// They expand beyond what a message may have.
        case tooLarge
    }

    /// What every compressed message ends with, and which is not sent (RFC 7692, 7.2.1).
    private static let tail: [UInt8] = [0x00, 0x00, 0xFF, 0xFF]
    /// Faster than zlib's own choice, at little more size: messages are short.
    private static let level: Int32 = 3
    private static let keptOutput = 262_144

    private let deflating: UnsafeMutablePointer<z_stream>
    private let inflating: UnsafeMutablePointer<z_stream>
    private var output = UnsafeMutableRawBufferPointer.allocate(byteCount: 16384, alignment: 16)

    /// Nil where there is no memory for it (some 300 KiB).
    package init?() {
        unsafe deflating = .allocate(capacity: 1)
        unsafe inflating = .allocate(capacity: 1)
        unsafe deflating.initialize(to: z_stream())
        unsafe inflating.initialize(to: z_stream())
        let size = unsafe Int32(MemoryLayout<z_stream>.size)
        let version = ZLIB_VERSION
        // Negative window bits: no zlib header (RFC 1951 alone).
        let canDeflate = unsafe deflateInit2_(
            deflating,
            Self.level,
            Z_DEFLATED,
            -15,
            8,
            Z_DEFAULT_STRATEGY,
            version,
            size
        )
        let canInflate = unsafe inflateInit2_(inflating, -15, version, size)
        if canDeflate != Z_OK || canInflate != Z_OK { return nil }
    }

    /// Compresses a payload into `target`; returns its length, or nil where it would not be shorter than `target`.
    @unsafe
    package func compress(_ payload: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> Int? {
        guard unsafe deflateReset(deflating) == Z_OK else { return nil }
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
        // With the output full there may be more to come though all input was taken.
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
            // A final block ends the data (RFC 7692, 7.2.3.4 lets it): what follows begins anew.
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
        unsafe deflateEnd(deflating)
        unsafe inflateEnd(inflating)
        unsafe deflating.deallocate()
        unsafe inflating.deallocate()
        unsafe output.deallocate()
    }
}

/// The negotiation of permessage-deflate (RFC 7692, sections 5 and 7.1).
package enum DeflateExtension {
    /// What is answered where it is agreed on.
    package static let answer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

    /// True where one of a client's offers (`Sec-WebSocket-Extensions`) can be taken.
    ///
    /// One that asks for a smaller window than ours is passed over: a message is compressed once, for everybody.
    package static func accepts(_ offers: [String]) -> Bool { offers.contains(where: isAcceptable) }

    private static func isAcceptable(_ offer: String) -> Bool {
        let parts = offer.split(separator: ";").map { HTTPSyntax.trimmed($0) }
        guard parts.first?.lowercased() == "permessage-deflate" else { return false }
        var seen: Set<String> = []
        for part in parts.dropFirst() {
            let pieces = part.split(separator: "=", maxSplits: 1).map { HTTPSyntax.trimmed($0) }
            let name = pieces.first?.lowercased() ?? ""
            let value = pieces.count > 1 ? pieces[1].filter { $0 != "\"" } : nil
            guard seen.insert(name).inserted else { return false }
            switch name {
            case "server_no_context_takeover", "client_no_context_takeover":
                if value != nil { return false }
            case "client_max_window_bits":
                if let value, !(8...15).contains(Int(value) ?? 0) { return false }
            case "server_max_window_bits":
                if value != "15" { return false }
            default: return false
            }
        }
        return true
    }
}
