// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import MartletLinux

@Suite struct CPUQuotaTests {
    /// A test case: what the kernel says, and the expected number of CPUs.
    struct Machine: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let groups: String
        let mounts: String
        let files: [String: String]
        let cpus: Int?
    }

    private static let unified = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
    private static let split = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"

    static let machines = [
        Machine(testDescription: "no control groups", groups: "", mounts: "", files: [:], cpus: nil),
        Machine(
            testDescription: "version 2 without a quota",
            groups: "0::/system.slice/martlet.service\n",
            mounts: unified,
            files: ["/sys/fs/cgroup/system.slice/martlet.service/cpu.max": "max 100000\n"],
            cpus: nil
        ),
        Machine(
            testDescription: "version 2, one and a half",
            groups: "0::/system.slice/martlet.service\n",
            mounts: unified,
            files: ["/sys/fs/cgroup/system.slice/martlet.service/cpu.max": "150000 100000\n"],
            cpus: 2
        ),
        Machine(
            testDescription: "the quota of the slice holds too",
            groups: "0::/system.slice/martlet.service\n",
            mounts: unified,
            files: [
                "/sys/fs/cgroup/system.slice/martlet.service/cpu.max": "400000 100000\n",
                "/sys/fs/cgroup/system.slice/cpu.max": "50000 100000\n",
            ],
            cpus: 1
        ),
        Machine(
            testDescription: "a container with its own view of version 2",
            groups: "0::/\n",
            mounts: unified,
            files: ["/sys/fs/cgroup/cpu.max": "300000 100000\n"],
            cpus: 3
        ),
        Machine(
            testDescription: "a container of version 1, which sees the path of its host",
            groups: "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n",
            mounts: "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n",
            files: [
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            ],
            cpus: 2
        ),
        Machine(
            testDescription: "version 1 without a quota",
            groups: "5:cpu,cpuacct:/\n",
            mounts: split,
            files: [
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            ],
            cpus: nil
        ),
        Machine(
            testDescription: "nonsense",
            groups: "0::\n::\nx\n",
            mounts: "a b c\n" + unified,
            files: ["/sys/fs/cgroup/cpu.max": "0 0\n"],
            cpus: nil
        ),
    ]

    @Test(arguments: machines)
    func `the quota of both versions of control groups is read`(_ machine: Machine) {
        let cpus = CPUQuota.cpus(groups: machine.groups, mounts: machine.mounts) { machine.files[$0] }
        #expect(cpus == machine.cpus)
    }
}

@Suite struct NetworkRangeTests {
    @Test(arguments: [
        ("10.0.0.0/8", "10.255.1.2", true), ("10.0.0.0/8", "11.0.0.0", false), ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "192.0.2.2", false), ("0.0.0.0/0", "203.0.113.9", true), ("0.0.0.0/0", "2001:db8::1", false),
        ("2001:db8::/32", "2001:db8:ffff::1", true), ("2001:db8::/32", "2001:db9::", false),
        ("::/0", "2001:db8::1", true),
        ("fe80::/10", "febf::1", true), ("2001:db8::/64", "2001:db8:0:0:ffff::", true),
        ("2001:db8:0:0:8000::/65", "2001:db8::1", false), ("127.0.0.1/32", "127.0.0.1", true),
    ])
    func `a network contains its addresses, and no others`(
        _ network: String,
        _ address: String,
        _ isInside: Bool
    ) throws {
        let range = try #require(NetworkRange(network))
        #expect(range.contains(try #require(NetworkAddress(address))) == isInside)
    }

    @Test(arguments: [
        "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8/8", "x/8", "2001:db8::/129", "/8", "",
    ])
    func `text that is not a network is refused`(_ text: String) { #expect(NetworkRange(text) == nil) }
}
