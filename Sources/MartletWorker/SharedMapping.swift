internal import MartletLinux

/// A mapping that lives for as long as something refers to it.
final class SharedMapping {
    let mapping: MemoryMapping

    init(_ mapping: consuming MemoryMapping) {
        self.mapping = mapping
    }

    /// Itself, and from now on for as long as the process lives.
    var kept: MemoryMapping {
        _read {
            _ = unsafe Unmanaged.passRetained(self)
            yield mapping
        }
    }
}
