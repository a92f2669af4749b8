// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// The installed units run under a real systemd: they are started by a connection, notify it, and run in a sandbox.
@Suite(.serialized) struct ServiceRunsUnderSystemdTests {
    @Test func `a connection starts the service, which serves it, says how it is, reloads, and recovers`() async throws
    {
        try await ServiceLab.with(arguments: "--dev") { lab in
            #expect(try await lab.run("systemctl", "start", "martlet.socket").code == 0)
            #expect(try await lab.property("ActiveState") == "inactive")
            let clients = try WebSocketClients()
            try await clients.open([("a", "ws://127.0.0.1:\(lab.clientPort)/ws?user=alice")])
            try await lab.wait("ActiveState") { $0 == "active" }
            try await lab.wait("StatusText") { $0.hasSuffix("serve 1 connection, 0 messages/s") }

            let main = try await lab.property("MainPID")
            let reload = try await lab.run("systemctl", "reload", "martlet.service")
            #expect(reload.code == 0, "\(reload.error)")
            let upgrade = try await lab.run("martletctl", "upgrade")
            #expect(upgrade.code == 0, "\(upgrade.error)")
            try await lab.shell("kill -9 $(pgrep -x martlet-worker)")
            let sent = try await lab.shell(
                "for n in 1 2 3; do curl -s --unix-socket /run/martlet/api.sock -d $n http://x/v1/users/alice/messages; done"
            )
            #expect(
                sent.output == String(repeating: "{\"matched\":1,\"delivered\":1,\"held\":0,\"failed\":0}", count: 3)
            )
            #expect(try await clients.messages("a", count: 3) == ["1", "2", "3"])
            #expect(try await lab.property("MainPID") == main)
            #expect(try await lab.property("NRestarts") == "0")

            let ended = try await lab.journal("MESSAGE_ID=10ac9280fd014f0788220f8b7fe8b529")
            #expect(ended.count >= 1 && ended.allSatisfy { $0.contains("\"MARTLET_SHARD\"") })
            #expect(ended.allSatisfy { $0.contains("\"PRIORITY\":\"3\"") })

            #expect(try await lab.run("systemctl", "stop", "martlet.service").code == 0)
            #expect(try await clients.closeCode("a") == 1001)
            #expect(try await lab.property("Result") == "success")
            #expect(try await lab.shell("pgrep martlet").code == 1, "processes are left")
        }
    }

    @Test func `a service that hangs is found by the watchdog and started again`() async throws {
        try await ServiceLab.with(arguments: "--dev") { lab in
            try await lab.shell(
                "printf '[Service]\\nWatchdogSec=2s\\n' >/etc/systemd/system/martlet.service.d/fast.conf; systemctl daemon-reload"
            )
            #expect(try await lab.run("systemctl", "start", "martlet.service").code == 0)
            try await lab.shell("kill -STOP $(systemctl show --value -p MainPID martlet.service)")
            try await lab.wait("NRestarts") { $0 == "1" }
            try await lab.wait("ActiveState") { $0 == "active" }
            #expect(try await lab.journal().contains { $0.contains("watchdog") || $0.contains("Watchdog") })
        }
    }

    @Test func `a bad configuration prevents the start with a sentence, and a bad reload changes nothing`() async throws
    {
        try await ServiceLab.with { lab in
            let file = "/etc/martlet/martlet.yaml"
            try await lab.shell("cp \(file) /tmp/good; echo 'colour: red' >>\(file)")
            #expect(try await lab.run("systemctl", "start", "martlet.service").code != 0)
            try await lab.wait("ActiveState") { $0 == "failed" }
            #expect(try await lab.property("NRestarts") == "0", "it tried again what cannot work")
            #expect(try await lab.journal().contains { $0.contains("colour: there is no such key") })

            try await lab.shell("cp /tmp/good \(file)")
            let start = try await lab.run("systemctl", "start", "martlet.service")
            #expect(start.code == 0, "\(start.error)")
            let main = try await lab.property("MainPID")
            try await lab.shell("echo 'colour: red' >>\(file)")
            #expect(try await lab.run("systemctl", "reload", "martlet.service").code != 0)
            #expect(try await lab.journal().contains { $0.contains("martletctl") && $0.contains("colour") })
            #expect(try await lab.property("ActiveState") == "active")
            #expect(try await lab.property("MainPID") == main)
            #expect(try await lab.run("martletctl", "status").code == 0)
        }
    }

    @Test func `the journal says where a worker trapped, under its shard's name`() async throws {
        try await ServiceLab.with(arguments: "--dev --workers 1") { lab in
            #expect(try await lab.run("systemctl", "start", "martlet.service").code == 0)
            let worker = try await lab.run("pgrep", "-x", "martlet-worker").output.trimmingCharacters(in: .newlines)
            try await lab.shell("kill -ABRT \(worker)")
            try await lab.wait(seconds: 20, for: "the stack of shard 0") {
                // The unit cannot be used: the journal does not know it if a process ended before its lines were read.
                let journal = try await lab.run("journalctl", "-o", "json", "--no-pager", "-t", "martlet-shard-0")
                let lines = journal.output.split(separator: "\n")
                return lines.contains { $0.contains("martlet-worker of shard 0: signal 6; the stack follows") }
                    && lines.contains { $0.contains("martlet-worker(+0x") || $0.contains("martlet-worker(_") }
                    && lines.allSatisfy { $0.contains("\"PRIORITY\":\"3\"") }
            }
            let ended = try await lab.journal("MARTLET_SHARD=0", "MESSAGE_ID=10ac9280fd014f0788220f8b7fe8b529")
            #expect(ended.contains { $0.contains("signal 6") })
            // The journal may have the lines before the next worker serves.
            try await lab.wait(seconds: 20, for: "the next worker") {
                try await lab.run("martletctl", "status").code == 0
            }
        }
    }

    @Test func `the sandbox refuses what a service under attack would try`() async throws {
        try await ServiceLab.with { lab in
            // This is the shipped unit with another program in place of martletd.
            let script = """
                sed -E '/^(Requires|After|Exec(Start|Reload|Stop)|Type|NotifyAccess|WatchdogSec|Restart|FileDescriptor)/d
                    s|^ExecPaths=|&/usr/bin/python3 |
                    s|^\\[Service\\]|&\\nType=oneshot\\nExecStart=/usr/bin/python3 /srv/lab/sandbox_probe.py /home/probe|' \
                    "$(systemctl show --value -p FragmentPath martlet.service)" >/etc/systemd/system/probe.service
                mkdir -p /home/probe/letters
                systemctl daemon-reload && systemctl start probe.service && journalctl -o cat -u probe.service | grep '^{'
                """
            let probe = try await lab.shell(script)
            let tried = try JSONDecoder().decode([String: String].self, from: Data(probe.output.utf8))
            #expect(tried.count == 14)
            #expect(tried.allSatisfy { $0.value.contains("Error") }, "\(tried)")
            #expect(tried["exec"]?.hasPrefix("PermissionError") == true)
        }
    }

    @Test func `the sandbox that is in force is the one that is shipped`() async throws {
        try await ServiceLab.with(arguments: "--dev") { lab in
            #expect(try await lab.run("systemctl", "start", "martlet.service").code == 0)
            let expected = [
                "PrivateNetwork": "yes", "RestrictAddressFamilies": "AF_UNIX", "CapabilityBoundingSet": "",
                "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateUsers": "yes",
                "PrivateTmp": "yes", "PrivateDevices": "yes", "MemoryDenyWriteExecute": "yes", "ProcSubset": "pid",
                "ProtectProc": "invisible", "RestrictNamespaces": "yes", "NoExecPaths": "/", "User": "martlet",
                "KillMode": "process", "NonBlocking": "yes", "NotifyAccess": "main",
                "OOMPolicy": "continue", "WatchdogUSec": "10s", "SystemCallArchitectures": "native",
            ]
            for (name, value) in expected { #expect(try await lab.property(name) == value, "\(name)") }
            let denied = try await lab.property("IPAddressDeny").split(separator: " ").sorted()
            #expect(denied == ["0.0.0.0/0", "::/0"])
            // The kernel confirms it for every process.
            let kernel = try await lab.shell(
                "for p in $(pgrep martlet); do grep -E '^(Seccomp|NoNewPrivs|CapBnd|CapEff):' /proc/$p/status; done | sort | uniq -c"
            )
            let words = kernel.output.split(whereSeparator: \.isNewline).map {
                $0.split(whereSeparator: \.isWhitespace).joined(separator: " ")
            }
            let none = "0000000000000000"
            #expect(words == ["5 CapBnd: \(none)", "5 CapEff: \(none)", "5 NoNewPrivs: 1", "5 Seccomp: 2"], "\(words)")
        }
    }

    @Test func `the units are valid, and the sandbox gets one of the best scores`() async throws {
        try await ServiceLab.with { lab in
            let units = "martlet.service martlet.socket martlet-api.socket martlet-control.socket"
            let verified = try await lab.shell("systemd-analyze verify --man=no \(units) 2>&1")
            #expect(verified.code == 0 && verified.output.isEmpty, "\(verified.output)")
            let score = try await lab.run("systemd-analyze", "security", "--threshold=3", "martlet.service")
            #expect(score.code == 0, "\(score.output)")
            print(score.output.split(separator: "\n").first { $0.contains("Overall exposure") } ?? "\(score)")
        }
    }
}
