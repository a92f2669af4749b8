// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// What a worker that takes over has found, or the result of its take-over.
package struct Adoption: Equatable, Sendable {
    /// How many connections go on.
    package var kept = 0
    /// How many connections are lost because their slots are inconsistent or their sockets are gone.
    package var lost = 0
    /// How many connections the kernel had moved bytes for that were not recorded.
    package var unrecorded = 0
    /// Why nothing can be taken over; nil: there is no problem.
    package var problem: String?

    package init() {}

    package init(_ bytes: [UInt8], in range: Range<Int>) throws(WireError) {
        var reader = ByteReader(bytes, in: range)
        kept = Int(try reader.integer(UInt32.self))
        lost = Int(try reader.integer(UInt32.self))
        unrecorded = Int(try reader.integer(UInt32.self))
        problem = try reader.optionalText()
        try reader.finish()
    }

    package var bytes: [UInt8] {
        var writer = ByteWriter()
        for number in [kept, lost, unrecorded] { writer.put(UInt32(clamping: number)) }
        writer.put(problem)
        return writer.bytes
    }
}
