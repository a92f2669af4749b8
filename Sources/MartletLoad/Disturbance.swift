// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// What happens to the server during a run: planned work with `martletctl`, or workers that are killed.
final class Disturbance: @unchecked Sendable {
    // Unchecked: the thread that calls run() writes, and a reader has waited until that returns. It sleeps for the
    // pauses between events that were asked for, and between queries of a server that does not report by itself.
    enum Kind {
        /// Programs with their arguments, one after another.
        case commands([[String]])
        /// Kills a random worker (SIGKILL), again and again.
        case kills(everySeconds: ClosedRange<Double>)
        case nothing
    }

    let kind: Kind
    private let pause: Double
    private let until: Date
    private let workers: () -> [Worker]
    /// How many events have happened.
    private(set) var done = 0
    private(set) var failures: [String] = []
    /// How many kills came when the kernel had moved bytes that the worker had not recorded.
    private(set) var unrecorded = 0

    struct Worker {
        let shard: Int
        let pid: Int32
        let generation: Int
        let unrecorded: Int
    }

    /// Plans a disturbance.
    ///
    /// - Parameters:
    ///   - kind: What happens.
    ///   - pause: Seconds between two commands.
    ///   - seconds: How long kills go on; commands are all run, even if that takes longer.
    ///   - workers: Asks the server which workers there are.
    init(_ kind: Kind, pause: Double, seconds: Double, workers: @escaping () -> [Worker]) {
        self.kind = kind
        self.pause = pause
        until = Date().addingTimeInterval(seconds)
        self.workers = workers
    }

    /// Runs the disturbance, and returns at its end.
    func run() {
        switch kind {
        case .commands(let commands):
            for command in commands {
                Thread.sleep(forTimeInterval: pause)
                perform(command)
            }
            rest()
        case .kills(let range):
            while Date() < until {
                Thread.sleep(forTimeInterval: .random(in: range))
                kill()
            }
        case .nothing: rest()
        }
    }

    private func rest() {
        let left = until.timeIntervalSinceNow
        if left > 0 { Thread.sleep(forTimeInterval: left) }
    }

    private func perform(_ command: [String]) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: command[0])
        process.arguments = Array(command.dropFirst())
        let errors = Pipe()
        process.standardError = errors
        process.standardOutput = FileHandle.nullDevice
        do {
            try process.run()
            let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            process.waitUntilExit()
            if process.terminationStatus != 0 { failures.append("\(command.joined(separator: " ")): \(text)") }
        } catch {
            failures.append("\(command.joined(separator: " ")): \(error)")
        }
        done += 1
    }

    private func kill() {
        guard let victim = workers().filter({ $0.pid > 0 }).randomElement() else { return }
        guard Foundation.kill(victim.pid, SIGKILL) == 0 else { return }
        done += 1
        // Its successor reports what it has found.
        for _ in 0..<200 {
            Thread.sleep(forTimeInterval: 0.01)
            guard let next = workers().first(where: { $0.shard == victim.shard && $0.generation > victim.generation })
            else { continue }
            if next.unrecorded > 0 { unrecorded += 1 }
            return
        }
        failures.append("shard \(victim.shard) was not taken over within two seconds")
    }
}
