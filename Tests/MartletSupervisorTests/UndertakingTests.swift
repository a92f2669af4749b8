// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletLinux
import MartletWire
import Testing

@testable import MartletSupervisor

/// What may begin while something is under way, also while the process is about to leave.
@Suite struct UndertakingTests {
    private func scaling() throws -> Scaling {
        let steps = Resharding(donors: 1, heirs: 2, now: 0, patience: 1)
        let board = try Board(shards: 2, limits: Configuration().limits)
        return Scaling(steps, [], map: ShardMap(shardCount: 2), board: board) { _ in }
    }

    @Test func `only an idle supervisor begins something, and each obstacle says what is under way`() throws {
        let rolling = Undertaking.rolling(Rolling { _ in })
        let all: [(Undertaking, obstacle: String?, isSettled: Bool)] = [
            (.idle, nil, true), (.starting, "starting", true), (rolling, "being replaced", false),
            (.scaling(try scaling()), "being changed", false),
            (.leaving(deadline: 5, during: .idle), "about to be restarted", true),
            (.leaving(deadline: 5, during: rolling), "about to be restarted", false),
            (.left, "about to be restarted", false), (.stopping(deadline: 5), "is stopping", false),
        ]
        for (undertaking, obstacle, isSettled) in all {
            #expect(undertaking.isSettled == isSettled, "\(undertaking)")
            if let obstacle {
                #expect(undertaking.obstacle?.contains(obstacle) == true, "\(undertaking)")
            } else {
                #expect(undertaking.obstacle == nil)
            }
        }
    }

    @Test func `what ends while the process is about to leave leaves it about to leave`() {
        var undertaking = Undertaking.rolling(Rolling { _ in })
        undertaking = .leaving(deadline: 7, during: undertaking)
        #expect(undertaking.rolling != nil && undertaking.leaveDeadline == 7 && undertaking.stopDeadline == nil)
        undertaking.end()
        #expect(undertaking.rolling == nil && undertaking.leaveDeadline == 7 && undertaking.isSettled)
        // A change that needs another step may begin it.
        undertaking.begin(.rolling(Rolling { _ in }))
        #expect(undertaking.rolling != nil && undertaking.leaveDeadline == 7)
    }

    @Test func `a process that has left its workers, or stops, begins nothing and forgets neither`() {
        for undertaking in [Undertaking.left, .stopping(deadline: 3)] {
            var undertaking = undertaking
            let before = undertaking.obstacle
            undertaking.begin(.rolling(Rolling { _ in }))
            #expect(undertaking.rolling == nil && undertaking.obstacle == before)
            undertaking.end()
            #expect(undertaking.obstacle == before)
        }
    }

    @Test func `what ends leaves the supervisor idle`() throws {
        var undertaking = Undertaking.starting
        undertaking.end()
        #expect(undertaking.obstacle == nil)
        undertaking.begin(.scaling(try scaling()))
        #expect(undertaking.scaling != nil && undertaking.rolling == nil && undertaking.upgrading == nil)
        undertaking.end()
        #expect(undertaking.obstacle == nil && undertaking.isSettled)
    }
}
