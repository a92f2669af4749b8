// SPDX-License-Identifier: Apache-2.0

import Foundation
import Support
import Testing

/// After `systemctl restart`, or the supervisor's death at any moment, the workers serve, and the next supervisor uses
/// them.
@Suite(.serialized) struct ServiceRestartsAreNotNoticedTests {
    /// Runs `martlet-load continuity` in the lab, while these commands of its shell are run.
    private func continuity(
        _ lab: ServiceLab,
        _ commands: [String],
        _ more: String = ""
    ) async throws -> ServiceLab.Result {
        try await lab.shell(
            """
            martlet-load continuity -c 500 --limit 50 --client 127.0.0.1:\(lab.clientPort) --api 127.0.0.1:\(lab.clientPort + 1) \
                --shell --pause 0.3 --json \(more) --commands '\(commands.joined(separator: ","))'
            """
        )
    }

    private let kill = "kill -9 $(systemctl show --value -p MainPID martlet.service)"
    private let back = "sleep 0.1; until systemctl is-active -q martlet.service; do sleep 0.05; done; martletctl status"

    @Test func `restarts, reloads, upgrades and deaths of any process drop, lose, duplicate and reorder nothing`()
        async throws
    {
        try await ServiceLab.with(arguments: "--dev") { lab in
            try await lab.configure(service: "WatchdogSec=2s")
            #expect(try await lab.run("systemctl", "start", "martlet.service").code == 0)
            let run = try await continuity(
                lab,
                [
                    "systemctl restart martlet.service", "systemctl reload martlet.service", "martletctl upgrade",
                    "\(kill); \(back)", "\(kill) $(pgrep martlet-worker | head -1); \(back)",
                    "kill -STOP $(pgrep martlet-worker | head -1); sleep 0.5",
                    "kill -STOP $(systemctl show --value -p MainPID martlet.service); sleep 3.5; \(back)",
                ]
            )
            #expect(run.code == 0 && run.output.contains("\"broken\":[]"), "\(run.output) \(run.error)")
            try await lab.wait("ActiveState") { $0 == "active" }
            // Two supervisors were killed by the test, and one by the watchdog.
            #expect(try await lab.property("NRestarts") == "3")
            #expect(try await lab.journal().contains { $0.contains("Watchdog timeout") })
            try await lab.wait(seconds: 10, for: "one supervisor, two workers, two keepers") {
                try await lab.run("pgrep", "-c", "martlet").output == "5\n"
            }
            #expect(try await lab.property("NFileDescriptorStore") == "12")
        }
    }

    @Test func `repeated requests to workers that still serve are recognised, even without a key`() async throws {
        try await ServiceLab.with(arguments: "--dev --workers 2") { lab in
            #expect(try await lab.run("systemctl", "start", "martlet.service").code == 0)
            // There are many at once, so that some are between two workers at any moment.
            let dense = "--without-keys --backends 32 --publish-pause 0"
            let died = try await continuity(lab, (0..<8).map { _ in "\(kill); \(back)" }, dense)
            #expect(died.code == 0 && died.output.contains("\"broken\":[]"), "\(died.output) \(died.error)")
            let serving = "until martletctl status; do sleep 0.05; done"
            let restarts = (0..<4).map { _ in "systemctl restart martlet.service; \(serving)" }
            let planned = try await continuity(lab, restarts, dense)
            print(died.output, planned.output)
            #expect(planned.code == 0 && planned.output.contains("\"broken\":[]"), "\(planned.output) \(planned.error)")
        }
    }

    @Test func `workers that another supervisor has started are upgraded, and end, like its own`() async throws {
        try await ServiceLab.with(arguments: "--dev --workers 2") { lab in
            #expect(try await lab.run("systemctl", "start", "martlet.service").code == 0)
            let clients = try WebSocketClients()
            try await clients.open([("a", "ws://127.0.0.1:\(lab.clientPort)/ws?user=alice")])
            try await lab.shell("\(kill); \(back)")
            for _ in 1...2 {
                let upgrade = try await lab.run("martletctl", "upgrade")
                #expect(upgrade.code == 0, "\(upgrade.error)")
            }
            try await lab.wait(seconds: 10, for: "one supervisor, two workers, two keepers") {
                try await lab.run("pgrep", "-c", "martlet").output == "5\n"
            }
            #expect(try await lab.property("NFileDescriptorStore") == "12")
            let sent = try await lab.run("martletctl", "send", "--user", "alice", "1")
            #expect(sent.code == 0, "\(sent.error)")
            #expect(try await clients.messages("a", count: 1) == ["1"])
            // The command ends the service, although its unit would start it again.
            #expect(try await lab.run("martletctl", "stop").code == 0)
            try await lab.wait("ActiveState") { $0 == "inactive" }
            #expect(try await lab.property("Result") == "success")
            #expect(try await lab.run("pgrep", "martlet").code == 1)
            #expect(try await clients.closeCode("a") == 1001)
        }
    }

    @Test func `a bad configuration does not end running workers, whatever happens to the supervisor`() async throws {
        try await ServiceLab.with(arguments: "--dev") { lab in
            #expect(try await lab.run("systemctl", "start", "martlet.service").code == 0)
            let clients = try WebSocketClients()
            try await clients.open([("a", "ws://127.0.0.1:\(lab.clientPort)/ws?user=alice")])
            let file = "/etc/martlet/martlet.yaml"
            try await lab.shell("cp \(file) /tmp/good; echo 'colour: red' >>\(file); \(kill)")
            try await lab.wait("StatusText") { $0.contains("colour: there is no such key") }
            try await lab.shell("cp /tmp/good \(file)")
            try await lab.wait("ActiveState") { $0 == "active" }
            let sent = try await lab.run("martletctl", "send", "--user", "alice", "1")
            #expect(sent.code == 0, "\(sent.error)")
            #expect(try await clients.messages("a", count: 1) == ["1"])
        }
    }

    @Test func `the sockets can be opened again while clients are connected`() async throws {
        try await ServiceLab.with(arguments: "--dev") { lab in
            #expect(try await lab.run("systemctl", "start", "martlet.service").code == 0)
            let clients = try WebSocketClients()
            let url = "ws://127.0.0.1:\(lab.clientPort)/ws?user="
            try await clients.open([("a", url + "alice")])
            for unit in ["martlet.socket", "martlet-api.socket", "martlet-control.socket"] {
                let restart = try await lab.run("systemctl", "restart", unit)
                #expect(restart.code == 0, "\(unit): \(restart.error)")
                try await lab.wait("ActiveState") { $0 == "active" }
            }
            try await clients.open([("b", url + "bob")])
            let sent = try await lab.shell("curl -s --unix-socket /run/martlet/api.sock -d 1 http://x/v1/broadcast")
            #expect(sent.output == "{\"matched\":2,\"delivered\":2,\"held\":0,\"failed\":0}")
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
        }
    }

    @Test func `a supervisor that dies in the middle of a restart, a scaling or an upgrade loses nothing`() async throws
    {
        try await ServiceLab.with(arguments: "--dev") { lab in
            #expect(try await lab.run("systemctl", "start", "martlet.service").code == 0)
            let dies = "/srv/lab/supervisor-dies 5"
            let run = try await continuity(lab, ["\(dies) restart --all", "\(dies) scale 3", "\(dies) upgrade"])
            #expect(run.code == 0 && run.output.contains("\"broken\":[]"), "\(run.output) \(run.error)")
        }
    }

    @Test func `without a supervisor users are served, and requests to several shards wait for the next one`()
        async throws
    {
        try await ServiceLab.with(arguments: "--dev") { lab in
            try await lab.configure(service: "RestartSec=2s")
            #expect(try await lab.run("systemctl", "start", "martlet.service").code == 0)
            let users = (0..<20).map { "user-\($0)" }
            let clients = try WebSocketClients()
            try await clients.open(users.map { ($0, "ws://127.0.0.1:\(lab.clientPort)/ws?user=\($0)") })
            _ = try await lab.shell(kill)
            try await lab.wait("ActiveState") { $0 == "activating" }
            let script = users.map { user in
                "curl -s -m 8 --unix-socket /run/martlet/api.sock -d 1 http://x/v1/users/\(user)/messages &"
            }
            let started = Date()
            let own = try await lab.shell(
                script.joined(separator: "\n")
                    + "\ncurl -s -m 8 --unix-socket /run/martlet/api.sock -d 2 http://x/v1/broadcast; wait"
            )
            #expect(
                own.output.components(separatedBy: "{\"matched\":1,\"delivered\":1,\"held\":0,\"failed\":0}").count
                    == 21
            )
            #expect(own.output.contains("{\"matched\":20,\"delivered\":20,\"held\":0,\"failed\":0}"), "\(own.output)")
            #expect(Date().timeIntervalSince(started) > 1, "there was a supervisor all the time")
            for user in users { #expect(try await clients.messages(user, count: 2).sorted() == ["1", "2"]) }
            // A client that came in the meantime is served too, whichever shard its user belongs to.
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
        }
    }

    @Test func `clients that come while there is no supervisor wait for the next one`() async throws {
        try await ServiceLab.with(arguments: "--dev") { lab in
            try await lab.configure(service: "RestartSec=1s")
            #expect(try await lab.run("systemctl", "start", "martlet.service").code == 0)
            _ = try await lab.shell(kill)
            let clients = try WebSocketClients()
            let users = (0..<40).map { "late-\($0)" }
            try await clients.open(users.map { ($0, "ws://127.0.0.1:\(lab.clientPort)/ws?user=\($0)") })
            try await lab.wait("ActiveState") { $0 == "active" }
            let sent = try await lab.shell(
                "curl -s --unix-socket /run/martlet/api.sock -d 1 http://x/v1/broadcast"
            )
            #expect(sent.output == "{\"matched\":40,\"delivered\":40,\"held\":0,\"failed\":0}")
        }
    }

    @Test func `a restart applies the new configuration, even one on which the shards' memory depends`() async throws {
        try await ServiceLab.with(arguments: "--dev") { lab in
            #expect(try await lab.run("systemctl", "start", "martlet.service").code == 0)
            let clients = try WebSocketClients()
            let users = (0..<20).map { "user-\($0)" }
            try await clients.open(users.map { ($0, "ws://127.0.0.1:\(lab.clientPort)/ws?user=\($0)&thread_id=t") })
            try await lab.shell(
                "sed -i 's/^workers: auto/workers: 3/; s/^  connections: .*/  connections: 70000/' /etc/martlet/martlet.yaml"
            )
            #expect(try await lab.run("systemctl", "restart", "martlet.service").code == 0)
            try await lab.wait(seconds: 20, for: "three shards") {
                try await lab.run("martletctl", "status").output.contains("3 of 3 shards serve 20 connections")
            }
            let sent = try await lab.shell(
                "curl -s --unix-socket /run/martlet/api.sock -d 1 http://x/v1/threads/t/messages"
            )
            #expect(sent.output == "{\"matched\":20,\"delivered\":20,\"held\":0,\"failed\":0}")
            #expect(await clients.events.events.allSatisfy { $0.ev != "closed" })
        }
    }

    @Test func `a stop closes all clients properly, and leaves nothing, with or without a supervisor`() async throws {
        try await ServiceLab.with(arguments: "--dev") { lab in
            for isKilled in [false, true] {
                let clients = try WebSocketClients()
                #expect(try await lab.run("systemctl", "start", "martlet.service").code == 0)
                try await clients.open([("a", "ws://127.0.0.1:\(lab.clientPort)/ws?user=alice")])
                if isKilled {
                    try await lab.configure(service: "RestartSec=1h")
                    _ = try await lab.shell(kill)
                    try await lab.wait("ActiveState") { $0 == "activating" }
                }
                #expect(try await lab.run("systemctl", "stop", "martlet.service").code == 0)
                #expect(try await clients.closeCode("a") == 1001)
                if isKilled {
                    try await lab.wait(seconds: 10, for: "the end of all processes") {
                        try await lab.run("pgrep", "martlet").code == 1
                    }
                } else {
                    #expect(try await lab.run("pgrep", "martlet").code == 1, "processes are left")
                }
                #expect(try await lab.property("NFileDescriptorStore") == "0")
            }
            let sockets = try await lab.shell(
                "systemctl stop martlet.socket martlet-api.socket martlet-control.socket; ls -A /run/martlet /dev/shm"
            )
            #expect(sockets.output == "/dev/shm:\n\n/run/martlet:\n", "\(sockets.output)")
        }
    }
}
