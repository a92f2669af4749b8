// SPDX-License-Identifier: Apache-2.0

/// The CPU time that this process's control groups allow it (cgroups(7)): the quota of a container, or a unit's
/// `CPUQuota=`.
package enum CPUQuota {
    /// How many whole CPUs the quota is worth, rounded up and at least one; nil if there is no quota.
    package static var cpus: Int? {
        cpus(groups: text("/proc/self/cgroup") ?? "", mounts: text("/proc/self/mountinfo") ?? "", read: text)
    }

    /// Computes how many whole CPUs the quota is worth from what the kernel says.
    ///
    /// - Parameters:
    ///   - groups: `/proc/self/cgroup`: `0::PATH` for version 2, `N:cpu,cpuacct:PATH` for version 1.
    ///   - mounts: `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
    ///   - read: Returns the text of a file; nil if there is no such file.
    /// - Returns: The number of CPUs; nil if there is no quota.
    package static func cpus(groups: String, mounts: String, read: (String) -> String?) -> Int? {
        var least: Double?
        for line in groups.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let isUnified = parts[0] == "0" && parts[1].isEmpty
            guard isUnified || parts[1].split(separator: ",").contains("cpu") else { continue }
            for mount in mounts.split(separator: "\n") {
                guard let folder = folder(of: parts[2], in: mount, isUnified: isUnified) else { continue }
                for path in upwards(from: folder.path, to: folder.top) {
                    let quota = isUnified ? unified(read("\(path)/cpu.max")) : split(path, read)
                    if let quota { least = min(least ?? quota, quota) }
                }
            }
        }
        return least.map { max(1, Int($0.rounded(.up))) }
    }

    /// Returns where a mount shows a group, and the mount point; nil if the mount does not show it.
    private static func folder(
        of group: Substring,
        in mount: Substring,
        isUnified: Bool
    ) -> (path: String, top: String)? {
        // 30 24 0:26 ROOT TOP options - TYPE source super-options
        let fields = mount.split(separator: " ")
        guard let dash = fields.firstIndex(of: "-"), dash >= 6, fields.count > dash + 3 else { return nil }
        let type = fields[dash + 1]
        guard isUnified ? type == "cgroup2" : type == "cgroup" && fields[dash + 3].split(separator: ",").contains("cpu")
        else { return nil }
        let (root, top) = (fields[3], String(fields[4]))
        // In a container the path may be that of the host, while the mount shows only the container's own part of it.
        if root == "/" { return (group == "/" ? top : top + group, top) }
        guard group == root || group.hasPrefix(root + "/") else { return (top, top) }
        return (top + group.dropFirst(root.count), top)
    }

    /// Returns a folder and those above it, up to the mount point: the quota of each applies to all below it.
    private static func upwards(from path: String, to top: String) -> [String] {
        var paths = [path]
        while let last = paths.last, last.count > top.count, last.hasPrefix(top),
            let slash = last.lastIndex(of: "/"), slash > last.startIndex
        {
            paths.append(String(last[..<slash]))
        }
        return paths
    }

    /// Reads `cpu.max` of version 2: `QUOTA PERIOD` in microseconds, or `max PERIOD`.
    private static func unified(_ text: String?) -> Double? {
        let numbers = (text ?? "").split { $0 == " " || $0 == "\n" }
        guard numbers.count == 2, let quota = Double(numbers[0]), let period = Double(numbers[1]), quota > 0, period > 0
        else { return nil }
        return quota / period
    }

    /// Reads the quota and the period of version 1, each from its own file; a quota of -1 means none.
    private static func split(_ path: String, _ read: (String) -> String?) -> Double? {
        let numbers = ["cpu.cfs_quota_us", "cpu.cfs_period_us"].compactMap { name in
            read("\(path)/\(name)").flatMap { Double($0.filter { !$0.isWhitespace }) }
        }
        guard numbers.count == 2, numbers[0] > 0, numbers[1] > 0 else { return nil }
        return numbers[0] / numbers[1]
    }

    private static func text(_ path: String) -> String? {
        (try? File.read(path, limit: 1_048_576)).map { String(decoding: $0, as: UTF8.self) }
    }
}
