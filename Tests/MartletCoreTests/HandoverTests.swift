// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

/// Checks who owns a shard, and who is told what next, at every step and for every way in which it can go wrong.
@Suite struct HandoverTests {
    private struct Step: Sendable, CustomTestStringConvertible {
        let name: String
        let events: [Handover.Event]
        let actions: [Handover.Action]
        var testDescription: String { name }
    }

    private static let steps: [Step] = [
        Step(
            name: "all goes well",
            events: [.heirReady, .donorFrozen, .collected(problem: nil)],
            actions: [.freeze, .collect, .commit]
        ),
        Step(name: "the heir exits at once", events: [.heirEnded("exit 1")], actions: [.giveUp(reason: "exit 1")]),
        Step(
            name: "the heir hangs at its start",
            events: [.timeout, .heirReady, .heirEnded("killed")],
            actions: [.killHeir, .none, .giveUp(reason: "it did not become ready in time")]
        ),
        Step(
            name: "the heir dies while the donor freezes",
            events: [.heirReady, .heirEnded("signal 9"), .donorFrozen],
            actions: [.freeze, .none, .thaw(reason: "signal 9")]
        ),
        Step(
            name: "the heir dies while it collects",
            events: [.heirReady, .donorFrozen, .heirEnded("signal 9")],
            actions: [.freeze, .collect, .thaw(reason: "signal 9")]
        ),
        Step(
            name: "the heir has no room",
            events: [
                .heirReady, .donorFrozen, .collected(problem: "no room"), .collected(problem: nil),
                .heirEnded("killed"),
            ],
            actions: [.freeze, .collect, .killHeir, .none, .thaw(reason: "no room")]
        ),
        Step(
            name: "the heir hangs while it collects: nothing is taken back before it has ended",
            events: [.heirReady, .donorFrozen, .timeout, .timeout, .heirEnded("killed")],
            actions: [.freeze, .collect, .killHeir, .none, .thaw(reason: "it did not take over in time")]
        ),
        Step(name: "the donor hangs", events: [.heirReady, .timeout], actions: [.freeze, .endBoth]),
        Step(name: "the donor dies early", events: [.donorEnded, .heirReady], actions: [.endBoth, .none]),
        Step(
            name: "the donor dies frozen",
            events: [.heirReady, .donorFrozen, .donorEnded],
            actions: [.freeze, .collect, .endBoth]
        ),
        Step(
            name: "the donor dies while a heir is being ended",
            events: [.heirReady, .donorFrozen, .timeout, .donorEnded],
            actions: [.freeze, .collect, .killHeir, .endBoth]
        ),
        Step(
            name: "what comes out of turn changes nothing",
            events: [
                .donorFrozen, .collected(problem: nil), .heirReady, .collected(problem: nil), .heirReady, .donorFrozen,
            ],
            actions: [.none, .none, .freeze, .none, .none, .collect]
        ),
        Step(
            name: "after the commit nothing is decided any more",
            events: [.heirReady, .donorFrozen, .collected(problem: nil), .timeout, .heirEnded("x"), .donorEnded],
            actions: [.freeze, .collect, .commit, .none, .none, .none]
        ),
    ]

    @Test(arguments: steps)
    private func `each event has the right action`(step: Step) {
        var handover = Handover(now: 0, patience: 10)
        let actions = step.events.enumerated().map { handover.heard($1, now: UInt64($0)) }
        #expect(actions == step.actions)
    }

    @Test func `each step has its own deadline`() {
        var handover = Handover(now: 0, patience: 10)
        #expect(handover.deadline == 10)
        _ = handover.heard(.heirReady, now: 7)
        #expect(handover.deadline == 17)
        _ = handover.heard(.heirReady, now: 9)
        #expect(handover.deadline == 17, "what changes nothing does not prolong it")
    }

    @Test func `no order of events commits twice, or thaws or commits after the end`() {
        let events: [Handover.Event] = [
            .heirReady, .donorFrozen, .collected(problem: nil), .collected(problem: "x"), .heirEnded("x"), .donorEnded,
            .timeout,
        ]
        func explore(_ handover: Handover, _ depth: Int) {
            for event in events {
                var next = handover
                let action = next.heard(event, now: 0)
                if handover.isOver { #expect(action == .none) }
                let ends: Bool =
                    switch action {
                    case .commit, .thaw, .giveUp, .endBoth: true
                    default: false
                    }
                #expect(!ends || next.isOver)
                if depth > 0 { explore(next, depth - 1) }
            }
        }
        explore(Handover(now: 0, patience: 1), 5)
    }
}
