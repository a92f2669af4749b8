// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletSystemd
internal import MartletWire

/// What a previous supervisor has left with the service manager: workers that continue to serve.
final class Remains {
    let state: StoreState
    let memory: Int32
    let names: [String]
    private var numbers: [String: Int32]

    /// Takes the stored descriptors out of all inherited ones; nil if there are none, or they cannot be used.
    ///
    /// `problem` is told why they cannot be used.
    init?(_ inherited: inout [Systemd.InheritedDescriptor], problem: (String) -> Void) {
        // A descriptor with the name of a listener is one, or a mistake that is reported elsewhere.
        let isListener = { (one: Systemd.InheritedDescriptor) in
            Listener.isListening(one.number) || Listeners.Purpose(one.name) != nil
        }
        let stored = inherited.filter { !isListener($0) }
        inherited = inherited.filter(isListener)
        if stored.isEmpty { return nil }
        numbers = Dictionary(stored.map { ($0.name, $0.number) }) { $1 }
        names = stored.map(\.name)
        do {
            guard let memory = numbers.removeValue(forKey: DescriptorStore.stateName),
                let bytes = DescriptorStore.state(in: memory)
            else { throw WireError.truncated }
            let state = try StoreState(bytes)
            guard [ArenaLayout.version, ArenaLayout.previousVersion].contains(state.arenaVersion) else {
                throw WireError.wrongVersion
            }
            (self.memory, self.state) = (memory, state)
        } catch {
            problem("\(error)")
            // Workers that wait for us see that nobody comes: they close their connections and end.
            for one in stored {
                Systemd.removeFromStore(one.name)
                closeDescriptor(one.number)
            }
            return nil
        }
    }

    /// Takes a descriptor that was left; nil if it is gone, or was already taken.
    func take(_ kind: StoredKind, _ identity: UInt64) -> Int32? {
        identity == 0 ? nil : numbers.removeValue(forKey: kind.name(identity))
    }

    /// Ends the remaining processes, which own nothing, and releases the remaining descriptors.
    func discardOthers() {
        for (name, number) in numbers {
            if name.hasPrefix(StoredKind.process.rawValue) {
                ForeignProcess(owning: number).kill()
            } else if name.hasPrefix(StoredKind.keeper.rawValue) {
                KeeperChannel(owning: number).dismiss()
            } else {
                closeDescriptor(number)
            }
        }
        numbers = [:]
    }
}
