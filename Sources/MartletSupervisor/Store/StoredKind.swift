// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletSystemd
internal import MartletWire

/// The kind of a stored descriptor, which is the first part of its name.
enum StoredKind: String {
    case process, tether, post, keeper, arena, board

    func name(_ identity: UInt64) -> String { "\(rawValue)-\(identity)" }
}
