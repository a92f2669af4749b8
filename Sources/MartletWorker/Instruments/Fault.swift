internal import MartletLinux
internal import MartletWire

/// Makes a worker fail where a test wants it to: only in debug builds, and only where `MARTLET_FAULTS` names a file.
///
/// The file has a line `POINT ACTION [GENERATION] [COUNT] [TEXT]` for each fault; the worker of that generation (0: of any)
/// fails when it comes to the point for the COUNTth time; with a text, only messages that contain it count.
/// `damage slot 0 NUMBER` is none: once its shard is frozen, that slot says no more whose it is.
/// `retired stays` is none: the worker does not leave when its shard is another's.
/// `rooms pieces 0 BYTES` is none: it makes the pieces in which rooms are told as small as a test can fill.
enum Fault {
    /// The steps of a worker's life at which it can fail.
    enum Point: String {
        case born, ready, collect, collected, commit, recovered
        case freeze, frozen, retire
        /// Behind a system call, before what it did is recorded.
        case sent, received
        /// In the middle of the handling of a client's message, or of a delivery.
        case message, delivery
        /// Pings are queued, and not written yet.
        case pinged
    }

    /// Fails here, if a test wants that.
    @inline(__always)
    static func at(_ point: Point) {
        #if DEBUG
        debug(point)
        #endif
    }

    /// Fails here where a test wants that of the handling of this message.
    @inline(__always)
    static func at(_ point: Point, _ payload: Span<UInt8>) {
        #if DEBUG
        if unsafe planned.contains(where: { $0.point == point.rawValue }) {
            debug(point, String(decoding: payload.indices.map { payload[$0] }, as: UTF8.self))
        }
        #endif
    }

    /// The largest piece in which rooms are told.
    static var roomsPiece: Int {
        #if DEBUG
        unsafe planned.first { $0.point == "rooms" }?.count ?? RoomChanges.largestPiece
        #else
        RoomChanges.largestPiece
        #endif
    }

    /// The slot that makes no sense from now on.
    static var damagedSlot: Int? {
        #if DEBUG
        unsafe planned.first { $0.point == "damage" }?.count
        #else
        nil
        #endif
    }

    /// A worker whose shard is another's does not leave.
    static var keepsRetired: Bool {
        #if DEBUG
        unsafe planned.contains { $0.point == "retired" }
        #else
        false
        #endif
    }

    #if DEBUG
    private struct Planned {
        let point: String
        let action: String
        var count: Int
        let text: String?
    }

    // Unchecked: touched on the worker's one thread only.
    nonisolated(unsafe) private static var planned: [Planned] = []

    /// Reads what is planned for a worker of this generation.
    static func plan(generation: UInt32) {
        guard let path = CurrentProcess.environment("MARTLET_FAULTS"), let bytes = try? File.read(path, limit: 65536)
        else { return }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            guard words.count >= 2 else { continue }
            let wanted = words.count > 2 ? UInt32(words[2]) ?? 0 : 0
            guard wanted == 0 || wanted == generation else { continue }
            let count = words.count > 3 ? Int(words[3]) ?? 1 : 1
            unsafe planned.append(
                Planned(point: words[0], action: words[1], count: count, text: words.count > 4 ? words[4] : nil)
            )
        }
    }

    private static func debug(_ point: Point, _ payload: String = "") {
        for index in unsafe planned.indices where unsafe planned[index].point == point.rawValue {
            if let text = unsafe planned[index].text, !payload.contains(text) { continue }
            unsafe planned[index].count -= 1
            if unsafe planned[index].count == 0 { unsafe act(planned[index].action) }
        }
    }

    /// Says that it waits, until the plan is gone or some seconds have passed.
    private static func wait() {
        guard let path = CurrentProcess.environment("MARTLET_FAULTS") else { return }
        CurrentProcess.printError("martlet-worker waits, as planned")
        for _ in 0..<200 where (try? File.read(path, limit: 65536))?.isEmpty == false {
            CurrentProcess.pause(milliseconds: 10)
        }
    }

    /// Tries what a worker that strangers have taken over would try, and says what came of it.
    private static func escape() {
        let tries: [(what: String, does: () throws -> Void)] = [
            ("a program", { _ = try ChildProcess(path: "/bin/true", arguments: [], environment: [], descriptors: []) }),
            ("a socket", { _ = try Listener.open(.tcp(address: "127.0.0.1", port: 0)) }),
            ("a folder", { try File.makeDirectory("/tmp/martlet-escape-\(CurrentProcess.random())", mode: 0o700) }),
            ("another process", { _ = try ChildProcess(adopting: 1) }),
        ]
        for one in tries {
            do {
                try one.does()
                CurrentProcess.printError("martlet-worker escapes: \(one.what)")
            } catch {
                CurrentProcess.printError("martlet-worker is kept from \(one.what): \(error)")
            }
        }
        // A worker that inherits nothing has its first listener there.
        for (what, error) in Harm.tryAll(listener: BirthContract.Descriptor.estate) {
            let words = error.map { "is kept from \(what): \($0)" } ?? "escapes: \(what)"
            CurrentProcess.printError("martlet-worker \(words)")
        }
    }

    private static func act(_ action: String) {
        switch action {
        case "exit": CurrentProcess.exit(1)
        case "kill": CurrentProcess.send(.kill)
        case "stop": CurrentProcess.send(.stop)
        case "hang": while true {}
        case "wait": wait()
        case "escape": escape()
        case "overrun": CurrentProcess.readBeyondMemory()
        case "full": CurrentProcess.limitDescriptors(CurrentProcess.openDescriptors + 16)
        default: preconditionFailure("a fault that a test wanted")
        }
    }
    #endif
}
