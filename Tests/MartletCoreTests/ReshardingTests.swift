// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

/// Checks who owns the users while the number of shards changes, at every step and for every way in which it can go
/// wrong.
@Suite struct ReshardingTests {
    private typealias Event = Resharding.Event

    private struct Step: Sendable, CustomTestStringConvertible {
        let name: String
        let events: [Event]
        let actions: [Resharding.Action]
        var testDescription: String { name }
    }

    private static let ready: [Event] = [.heirReady(0), .heirReady(1)]

    /// The steps for one donor and two heirs: heir 0 collects in the first round, heir 1 in the second.
    private static let steps: [Step] = [
        Step(
            name: "all goes well",
            events: ready + [
                .donorFrozen(0), .collected(heir: 0, problem: nil), .collected(heir: 1, problem: nil),
                .collected(heir: 1, problem: nil), .collected(heir: 0, problem: nil),
            ],
            actions: [.none, .freeze, .collect(round: 0), .collect(round: 1), .awaitCopies, .none, .commit]
        ),
        Step(
            name: "an heir cannot copy what it took",
            events: ready + [
                .donorFrozen(0), .collected(heir: 0, problem: nil), .collected(heir: 1, problem: nil),
                .collected(heir: 0, problem: "no memory"), .heirEnded(0, "killed"), .heirEnded(1, "killed"),
            ],
            actions: [
                .none, .freeze, .collect(round: 0), .collect(round: 1), .awaitCopies, .killHeirs, .none,
                .thaw(reason: "shard 0: no memory"),
            ]
        ),
        Step(
            name: "an heir exits at once: the others are ended, and nobody noticed",
            events: [.heirEnded(1, "exit 1"), .heirEnded(0, "killed")],
            actions: [.killHeirs, .giveUp(reason: "shard 1: exit 1")]
        ),
        Step(
            name: "an heir hangs at its start",
            events: [.heirReady(0), .timeout, .heirReady(1), .heirEnded(0, "killed"), .heirEnded(1, "killed")],
            actions: [.none, .killHeirs, .none, .none, .giveUp(reason: "shard 1: it did not become ready in time")]
        ),
        Step(
            name: "an heir dies while a donor freezes: it thaws when it has frozen",
            events: ready + [.heirEnded(0, "signal 9"), .heirEnded(1, "killed"), .donorFrozen(0)],
            actions: [.none, .freeze, .killHeirs, .none, .thaw(reason: "shard 0: signal 9")]
        ),
        Step(
            name: "an heir has no room",
            events: ready + [
                .donorFrozen(0), .collected(heir: 0, problem: "no room"), .heirEnded(0, "killed"),
                .heirEnded(1, "killed"),
            ],
            actions: [.none, .freeze, .collect(round: 0), .killHeirs, .none, .thaw(reason: "shard 0: no room")]
        ),
        Step(
            name: "the donor dies frozen: the heirs are ended first",
            events: ready + [.donorFrozen(0), .donorEnded(0), .heirEnded(0, "killed"), .heirEnded(1, "killed")],
            actions: [
                .none, .freeze, .collect(round: 0), .killHeirs, .none,
                .thaw(reason: "the worker of shard 0 ended meanwhile"),
            ]
        ),
        Step(
            name: "what comes out of turn changes nothing",
            events: [
                .collected(heir: 0, problem: nil), .donorFrozen(0), .heirReady(0), .heirReady(0), .heirReady(1),
                .collected(heir: 0, problem: nil), .donorFrozen(0), .collected(heir: 1, problem: nil),
            ],
            actions: [.none, .none, .none, .none, .freeze, .none, .collect(round: 0), .none]
        ),
    ]

    @Test(arguments: steps)
    private func `each event has the right action`(step: Step) {
        var resharding = Resharding(donors: 1, heirs: 2, now: 0, patience: 10)
        let actions = step.events.enumerated().map { resharding.heard($1, now: UInt64($0)) }
        #expect(actions == step.actions)
    }

    @Test(arguments: [(1, 1), (1, 4), (4, 1), (2, 3), (3, 2), (5, 5)])
    func `every heir is at every donor once, and never at the same time as another one`(donors: Int, heirs: Int) {
        let resharding = Resharding(donors: donors, heirs: heirs, now: 0, patience: 1)
        for round in 0..<max(donors, heirs) {
            let visited = (0..<heirs).compactMap { resharding.donor(of: $0, in: round) }
            #expect(Set(visited).count == visited.count)
        }
        for heir in 0..<heirs {
            let visited = (0..<max(donors, heirs)).compactMap { resharding.donor(of: heir, in: $0) }
            #expect(visited.sorted() == Array(0..<donors))
        }
    }

    @Test
    func `no order of events commits or thaws while an heir lives that must not be alive, or does more after the end`()
    {
        let events: [Event] = [
            .heirReady(0), .heirReady(1), .donorFrozen(0), .collected(heir: 0, problem: nil),
            .collected(heir: 1, problem: nil), .collected(heir: 1, problem: "x"), .heirEnded(0, "x"),
            .heirEnded(1, "x"), .donorEnded(0), .timeout,
        ]
        var commits = 0
        func explore(_ resharding: Resharding, _ ended: Set<Int>, _ depth: Int) {
            for event in events {
                var next = resharding
                let endedBefore = ended.count
                var ended = ended
                if case .heirEnded(let heir, _) = event { ended.insert(heir) }
                let action = next.heard(event, now: 0)
                if resharding.isOver { #expect(action == .none) }
                switch action {
                case .commit:
                    commits += 1
                    #expect(next.isOver && ended.isEmpty)
                case .thaw, .giveUp: #expect(next.isOver && ended.count == 2)
                default: #expect(resharding.isOver || !next.isOver)
                }
                let isNews = next != resharding || ended.count > endedBefore
                if depth > 0, isNews { explore(next, ended, depth - 1) }
            }
        }
        explore(Resharding(donors: 1, heirs: 2, now: 0, patience: 1), [], 7)
        #expect(commits > 0)
    }
}
