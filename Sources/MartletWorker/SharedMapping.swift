// SPDX-License-Identifier: Apache-2.0

internal import MartletLinux

/// A mapping that lives for as long as something refers to it.
final class SharedMapping {
    let mapping: MemoryMapping

    init(_ mapping: consuming MemoryMapping) {
        self.mapping = mapping
    }

    /// The mapping, which from now on lives for as long as the process.
    var kept: MemoryMapping {
        _read {
            _ = unsafe Unmanaged.passRetained(self)
            yield mapping
        }
    }
}
