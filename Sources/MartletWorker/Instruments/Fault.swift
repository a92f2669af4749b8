// SPDX-License-Identifier: Apache-2.0

internal import MartletLinux
internal import MartletWire

/// Makes a worker fail where a test wants it to, but only in debug builds, and only if `MARTLET_FAULTS` names a file.
///
/// The file has a line `POINT ACTION [GENERATION] [COUNT] [TEXT]` for each fault: the worker of that generation (0: of
/// any) fails when it comes to the point for the COUNTth time. If there is a text, only messages that contain it count.
///
/// Three kinds of lines are not faults:
/// - `damage slot 0 NUMBER`: once the shard is frozen, that slot does not say any more whose it is.
/// - `retired stays`: the worker does not leave when another worker has its shard.
/// - `rooms pieces 0 BYTES`: the pieces in which rooms are sent are so small that a test can fill them.
enum Fault {
    /// The steps of a worker's life at which it can fail.
    enum Point: String {
        case born, ready, collect, collected, commit, recovered
        case freeze, frozen, retire
        /// After a system call, before its result is recorded.
        case sent, received
        /// While a client's message is handled, or a delivery is carried out.
        case message, delivery
        /// When a client was taken out of a room, and its message does not count as handled yet.
        case left
        /// When pings are queued, and not written yet.
        case pinged
        /// Before the new slot of a session is open; when it has two slots; when the old one is gone.
        case resuming, resumed, moved
        /// When a session waits, and its socket is not closed yet.
        case waits
    }

    /// Fails here, if a test wants that.
    @inline(__always)
    static func at(_ point: Point) {
        #if DEBUG
        debug(point)
        #endif
    }

    /// Fails here, if a test wants that for this message.
    @inline(__always)
    static func at(_ point: Point, _ payload: Span<UInt8>) {
        #if DEBUG
        if unsafe planned.contains(where: { $0.point == point.rawValue }) {
            debug(point, String(decoding: payload.indices.map { payload[$0] }, as: UTF8.self))
        }
        #endif
    }

    /// The largest piece in which rooms are sent.
    static var roomsPiece: Int {
        #if DEBUG
        unsafe planned.first { $0.point == "rooms" }?.count ?? RoomChanges.largestPiece
        #else
        RoomChanges.largestPiece
        #endif
    }

    /// The slot that is to be damaged.
    static var damagedSlot: Int? {
        #if DEBUG
        unsafe planned.first { $0.point == "damage" }?.count
        #else
        nil
        #endif
    }

    /// Whether a worker stays when another worker has its shard.
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

    // Unchecked: touched only on the worker's single thread.
    nonisolated(unsafe) private static var planned: [Planned] = []

    /// Reads the faults that are planned for a worker of this generation.
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

    /// Waits, and says so, until the plan is gone or some seconds have passed.
    private static func wait() {
        guard let path = CurrentProcess.environment("MARTLET_FAULTS") else { return }
        CurrentProcess.printError("martlet-worker waits, as planned")
        for _ in 0..<200 where (try? File.read(path, limit: 65536))?.isEmpty == false {
            CurrentProcess.pause(milliseconds: 10)
        }
    }

    /// Tries what an attacker in control of a worker would try, and prints the results.
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
        // If a worker inherits nothing, its first listener has this number.
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
