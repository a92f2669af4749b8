// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// Rooms that got their first member on a shard, or lost their last one, in order.
///
/// A shard may have any number of rooms, but a frame is limited: the changes are sent in pieces.
package struct RoomChanges: Equatable, Sendable {
    /// The approximate size of a piece in bytes; a room's name has at most 256.
    package static let largestPiece = 1_048_576

    package var changes: [RoomChange]

    package init(_ changes: [RoomChange]) {
        self.changes = changes
    }

    package init(_ bytes: [UInt8], in range: Range<Int>) throws(WireError) {
        var reader = ByteReader(bytes, in: range)
        var list: [RoomChange] = []
        for _ in 0..<(try reader.count(ofAtLeast: 6)) {
            let isOccupied = try reader.flag()
            list.append(RoomChange(room: try reader.room(), isOccupied: isOccupied))
        }
        try reader.finish()
        changes = list
    }

    /// Divides changes, in the same order, into at least one piece of at most so many bytes, or of one change.
    package static func pieces(of changes: [RoomChange], largest: Int = largestPiece) -> [RoomChanges] {
        var pieces: [RoomChanges] = []
        var start = 0
        var byteCount = 4
        for (index, change) in changes.enumerated() {
            let more = 6 + change.room.id.utf8.count
            if index > start, byteCount + more > largest {
                pieces.append(RoomChanges(Array(changes[start..<index])))
                (start, byteCount) = (index, 4)
            }
            byteCount += more
        }
        return pieces + [RoomChanges(Array(changes[start...]))]
    }

    package var bytes: [UInt8] {
        var writer = ByteWriter()
        writer.put(UInt32(changes.count))
        for change in changes {
            writer.put(change.isOccupied)
            writer.put(change.room)
        }
        return writer.bytes
    }
}
