// SPDX-License-Identifier: Apache-2.0

internal import MartletLinux
internal import MartletSystemd
internal import MartletWire

/// The descriptors that the service manager keeps for the next supervisor (`FileDescriptorStoreMax=`,
/// systemd.service(5)).
///
/// These are a few descriptors of each worker, and the memory that says what they are. When a call here returns, the
/// kernel has everything, so that it is kept even if we are killed right after that.
final class DescriptorStore {
    /// The name of the memory.
    static let stateName = "state"
    /// The room for each of the two copies of the state.
    private static let copySize = 1 << 20
    private static let headSize = 16

    let memory: OwnedDescriptor
    private var stored: Set<String>
    private var sequence: UInt64
    private var last: StoreState?

    /// Makes an empty store.
    init() throws(SystemCallError) {
        memory = try SharedMemory.create(name: "martlet-store", byteCount: 2 * Self.copySize)
        stored = [Self.stateName]
        sequence = 0
        Systemd.store(memory.number, as: Self.stateName)
    }

    /// Continues a filled store; `names` are those of the descriptors that it keeps.
    init(memory: consuming OwnedDescriptor, names: [String]) {
        sequence = Self.latest(in: memory.number)?.sequence ?? 0
        self.memory = memory
        stored = Set(names)
    }

    var names: [String] { Array(stored) }

    /// Makes the store hold exactly these descriptors, and this state.
    func keep(_ descriptors: [String: Int32], _ state: StoreState) {
        for (name, descriptor) in descriptors where !stored.contains(name) {
            Systemd.store(descriptor, as: name)
            stored.insert(name)
        }
        // Everything that the state names is already kept, and what it no longer names is still kept.
        if state != last { write(state) }
        for name in stored.subtracting(descriptors.keys) where name != Self.stateName {
            Systemd.removeFromStore(name)
            stored.remove(name)
        }
    }

    /// Removes everything from the store.
    func empty() {
        for name in stored { Systemd.removeFromStore(name) }
        stored = []
    }

    /// Writes the state over the older one of two copies, so that one of them is always whole.
    private func write(_ state: StoreState) {
        let bytes = state.bytes
        guard bytes.count <= Self.copySize - Self.headSize else { return }
        sequence += 1
        var writer = ByteWriter()
        writer.put(sequence)
        writer.put(UInt32(bytes.count))
        writer.put(Checksum.crc32(bytes, startingWith: UInt32(truncatingIfNeeded: sequence)))
        let offset = Int(sequence % 2) * Self.copySize
        guard (try? SharedMemory.write(writer.bytes + bytes, to: memory.number, at: offset)) != nil else { return }
        last = state
    }

    /// Returns the state that was written last; nil if there is none.
    static func state(in memory: Int32) -> [UInt8]? { latest(in: memory)?.bytes }

    private static func latest(in memory: Int32) -> (sequence: UInt64, bytes: [UInt8])? {
        guard let all = try? SharedMemory.contents(of: memory, limit: 2 * copySize), all.count == 2 * copySize else {
            return nil
        }
        return [0, copySize].compactMap { copy(in: all, at: $0) }.max { $0.sequence < $1.sequence }
    }

    private static func copy(in all: [UInt8], at offset: Int) -> (sequence: UInt64, bytes: [UInt8])? {
        var reader = ByteReader(all, in: offset..<offset + copySize)
        guard let sequence: UInt64 = try? reader.integer(), let count: UInt32 = try? reader.integer(),
            let checksum: UInt32 = try? reader.integer(), sequence > 0, Int(count) <= copySize - headSize
        else { return nil }
        let start = offset + headSize
        let bytes = Array(all[start..<start + Int(count)])
        let expected = Checksum.crc32(bytes, startingWith: UInt32(truncatingIfNeeded: sequence))
        return checksum == expected ? (sequence, bytes) : nil
    }
}
