// SPDX-License-Identifier: Apache-2.0

internal import Foundation

/// What a server's processes use, read from /proc.
struct ServerCost {
    /// The CPU time of user and system code, in microseconds.
    let cpu: Double
    /// The proportional memory of all processes (smaps_rollup), in bytes.
    let memory: Int

    /// Reads the cost of a process and all its descendants.
    static func read(of root: Int) -> ServerCost {
        let pids = family(of: root)
        return ServerCost(cpu: pids.map(cpu).reduce(0, +), memory: pids.map(memory).reduce(0, +))
    }

    /// Returns the parent of a process, or nil.
    static func parent(of pid: Int) -> Int? { fields(of: pid).flatMap { Int($0[1]) } }

    /// Returns the CPU time that this process itself has used, in microseconds.
    static func own() -> Double { cpu(of: Int(getpid())) }

    private static func family(of root: Int) -> [Int] {
        let all = ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { Int($0) }
        var family = [root]
        var index = 0
        let parents = all.compactMap { pid in parent(of: pid).map { (pid, $0) } }
        while index < family.count {
            family += parents.filter { $0.1 == family[index] }.map(\.0)
            index += 1
        }
        return family
    }

    /// Reads the CPU time of a process from /proc/PID/task/TID/schedstat, in nanoseconds, or else from stat, in ticks.
    private static func cpu(of pid: Int) -> Double {
        let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []
        let nanoseconds = tasks.compactMap { task in
            try? String(contentsOfFile: "/proc/\(pid)/task/\(task)/schedstat", encoding: .utf8)
        }.compactMap { $0.split(separator: " ").first.flatMap { Double($0) } }
        if !nanoseconds.isEmpty { return nanoseconds.reduce(0, +) / 1000 }
        guard let fields = fields(of: pid), let user = Double(fields[11]), let system = Double(fields[12]) else {
            return 0
        }
        return (user + system) * 1_000_000 / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// Returns the fields of /proc/PID/stat after the name: state, parent, ...
    private static func fields(of pid: Int) -> [Substring]? {
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
            let end = text.lastIndex(of: ")")
        else { return nil }
        return text[text.index(after: end)...].split(separator: " ")
    }

    private static func memory(of pid: Int) -> Int {
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/smaps_rollup", encoding: .utf8) else { return 0 }
        let line = text.split(separator: "\n").first { $0.hasPrefix("Pss:") }
        return (line.flatMap { Int($0.filter(\.isNumber)) } ?? 0) * 1024
    }
}
