// SPDX-License-Identifier: Apache-2.0

internal import Configuration
internal import MartletWire

/// Collects the keys of a file while it is parsed.
final class KeyRecorder: @unchecked Sendable {
    // Unchecked: the parser that writes it runs within one call, on one thread.
    private(set) var all: [String] = []

    func append(_ key: String) { all.append(key) }
}
