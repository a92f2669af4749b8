// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletWire

/// An answer to a request with an `Idempotency-Key`, in the form in which the arena holds it.
struct KeyedAnswer {
    /// The first bytes of a record, which say where an answer belongs, and until when, without the rest.
    struct Head {
        static let byteCount = 34
        private static let severalUsers = UInt16.max

        /// The delivery that must be done for the answer to be valid.
        var delivery: UInt64
        let expiry: UInt64
        let fingerprint: UInt64
        /// The hash of the name (``KeyedAnswer/hash(_:)``).
        let hash: UInt64
        /// The slot of the user that the answer is about; nil: several users.
        let slot: Int?

        init(delivery: UInt64, expiry: UInt64, fingerprint: UInt64, hash: UInt64, slot: Int?) {
            self.delivery = delivery
            self.expiry = expiry
            self.fingerprint = fingerprint
            self.hash = hash
            self.slot = slot
        }

        init?(_ bytes: UnsafeRawBufferPointer) {
            guard bytes.count >= Self.byteCount else { return nil }
            func number(at offset: Int) -> UInt64 {
                UInt64(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            }
            delivery = number(at: 0)
            expiry = number(at: 8)
            fingerprint = number(at: 16)
            hash = number(at: 24)
            let slot = UInt16(littleEndian: unsafe bytes.loadUnaligned(fromByteOffset: 32, as: UInt16.self))
            self.slot = slot == Self.severalUsers ? nil : Int(slot)
        }

        func write(to writer: inout ByteWriter) {
            writer.put(delivery)
            writer.put(expiry)
            writer.put(fingerprint)
            writer.put(hash)
            writer.put(slot.map(UInt16.init) ?? Self.severalUsers)
        }
    }

    let head: Head
    let name: String
    let reply: CommandReply

    init(_ head: Head, name: String, reply: CommandReply) {
        self.head = head
        self.name = name
        self.reply = reply
    }

    init?(_ bytes: [UInt8]) {
        guard let head = unsafe bytes.withUnsafeBytes({ bytes in unsafe Head(bytes) }) else { return nil }
        self.head = head
        var reader = ByteReader(bytes, in: Head.byteCount..<bytes.count)
        guard let name = try? reader.text(limit: 1024), let raw = try? reader.raw(limit: 65536),
            let reply = try? CommandCoding.decodeReply(raw, in: 0..<raw.count)
        else { return nil }
        self.name = name
        self.reply = reply
    }

    var bytes: [UInt8] {
        var writer = ByteWriter()
        head.write(to: &writer)
        writer.put(name)
        writer.put(CommandCoding.encode(reply))
        return writer.bytes
    }

    /// Returns the record with another reply, without looking at the rest; nil if it is not a record.
    static func part(_ record: [UInt8], reply: [UInt8]) -> [UInt8]? {
        var reader = ByteReader(record, in: Head.byteCount..<max(Head.byteCount, record.count))
        guard (try? reader.raw(limit: 1024)) != nil else { return nil }
        var writer = ByteWriter()
        writer.put(reply)
        return Array(record[..<reader.position]) + writer.bytes
    }

    static func hash(_ name: String) -> UInt64 {
        var fingerprint = Fingerprint()
        fingerprint.add(name.utf8Span.span)
        return fingerprint.value
    }
}
