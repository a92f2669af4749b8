internal import MartletCore
internal import MartletLinux
internal import MartletSystemd
internal import MartletWire

/// What a supervisor before us has left with the service manager: workers that serve on.
final class Remains {
    let state: StoreState
    let memory: Int32
    let names: [String]
    private var numbers: [String: Int32]

    /// Takes what is ours out of all that was inherited; nil where there is nothing, or nothing of use.
    ///
    /// `problem`: told why what there is is of no use.
    init?(_ inherited: inout [Systemd.InheritedDescriptor], problem: (String) -> Void) {
        // What has the name of a listener is one, or a mistake that is told there.
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
            guard state.arenaVersion == ArenaLayout.version else { throw WireError.wrongVersion }
            (self.memory, self.state) = (memory, state)
        } catch {
            problem("\(error)")
            // Those who wait for us see that nobody comes: they close their connections and end.
            for one in stored {
                Systemd.removeFromStore(one.name)
                closeDescriptor(one.number)
            }
            return nil
        }
    }

    /// A descriptor that was left; nil where it is gone, or taken already.
    func take(_ kind: StoredKind, _ identity: UInt64) -> Int32? {
        identity == 0 ? nil : numbers.removeValue(forKey: kind.name(identity))
    }

    /// Ends whoever is left and owns nothing, and lets go of the rest.
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
