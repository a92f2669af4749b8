// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

/// Who has a shard, and what is done with whatever comes for it, at every step and for every way in which it can go wrong.
@Suite struct ShardCustodyTests {
    private typealias Event = ShardCustody.Event
    private typealias Action = ShardCustody.Action

    private struct Life: Sendable, CustomTestStringConvertible {
        let name: String
        var begin = ShardCustody(.vacant(left: false), waits: true)
        let events: [ShardCustody.Event]
        let actions: [[ShardCustody.Action]]
        let end: ShardCustody.State
        var testDescription: String { name }
    }

    private static let crash = Event.ended(leaves: true, restartsSoon: true)
    private static let loss = Event.ended(leaves: false, restartsSoon: true)

    private static let lives: [Life] = [
        Life(
            name: "the service starts",
            events: [.started, .ready],
            actions: [[], [.forgetRooms, .serve, .release]],
            end: .serving
        ),
        Life(
            name: "a worker crashes, and the next one takes over",
            begin: ShardCustody(.serving, waits: false),
            events: [crash, .started, .ready, .collected(isComplete: true), .recovered],
            actions: [[.keep, .hold], [], [.collect], [.commit], [.serve, .release]],
            end: .serving
        ),
        Life(
            name: "a worker crashes that has no keeper any more: its connections are lost, and whoever waits is told",
            begin: ShardCustody(.serving, waits: false),
            events: [loss, .started, .ready],
            actions: [[.lose, .fail], [], [.forgetRooms, .serve]],
            end: .serving
        ),
        Life(
            name: "an heir crashes before it is told to take over: what was left is still there",
            begin: ShardCustody(.vacant(left: true), waits: true),
            events: [.started, .ready, loss, .started, .ready, .collected(isComplete: true)],
            actions: [[], [.collect], [.hold], [], [.collect], [.commit]],
            end: .recovering
        ),
        Life(
            name: "an heir crashes after it was told: it leaves what it took",
            begin: ShardCustody(.vacant(left: true), waits: true),
            events: [.started, .ready, .collected(isComplete: true), crash, .started, .ready],
            actions: [[], [.collect], [.commit], [.keep, .hold], [], [.collect]],
            end: .inheriting
        ),
        Life(
            name: "an heir cannot take over",
            begin: ShardCustody(.vacant(left: true), waits: true),
            events: [.started, .ready, .collected(isComplete: false), crash],
            actions: [[], [.collect], [.end], [.hold]],
            end: .vacant(left: true)
        ),
        Life(
            name: "the next worker may not come soon: nobody is kept waiting, and it takes over all the same",
            begin: ShardCustody(.serving, waits: false),
            events: [
                .ended(leaves: true, restartsSoon: false), .started, .ready, .collected(isComplete: true), .recovered,
            ],
            actions: [[.keep, .fail], [], [.collect], [.commit], [.serve, .release]],
            end: .serving
        ),
        Life(
            name: "a replacement comes to nothing",
            begin: ShardCustody(.serving, waits: false),
            events: [.froze, .thawed],
            actions: [[], [.release]],
            end: .serving
        ),
        Life(
            name: "a replacement succeeds: the donor",
            begin: ShardCustody(.serving, waits: false),
            events: [.froze, .replaced, crash],
            actions: [[], [], []],
            end: .vacant(left: false)
        ),
        Life(
            name: "a replacement succeeds: the heir",
            begin: ShardCustody(.vacant(left: true), waits: false),
            events: [.started, .committed, .recovered],
            actions: [[], [.commit], [.serve, .release]],
            end: .serving
        ),
        Life(
            name: "a worker that stands still for a replacement crashes",
            begin: ShardCustody(.serving, waits: false),
            events: [.froze, crash],
            actions: [[], [.keep, .hold]],
            end: .vacant(left: true)
        ),
        Life(
            name: "another supervisor meets a worker",
            begin: ShardCustody(.unconfirmed, waits: false),
            events: [.ready],
            actions: [[.serve, .release]],
            end: .serving
        ),
        Life(
            name: "another supervisor meets a worker that had not heard that the shard is its own",
            begin: ShardCustody(.unconfirmed, waits: false),
            events: [.recovered, .ready],
            actions: [[], [.serve, .release]],
            end: .serving
        ),
        Life(
            name: "what comes out of turn changes nothing",
            begin: ShardCustody(.serving, waits: false),
            events: [.ready, .collected(isComplete: true), .recovered, .started, .committed, .thawed],
            actions: [[], [], [], [], [], []],
            end: .serving
        ),
    ]

    @Test(arguments: lives)
    private func `each event has its actions`(life: Life) {
        var custody = life.begin
        let actions = life.events.map { custody.heard($0) }
        #expect(actions == life.actions)
        #expect(custody.state == life.end)
    }

    @Test func `what was left is given up after five workers in a row that could not take it over`() {
        var custody = ShardCustody(.serving, waits: false)
        #expect(custody.heard(Self.crash) == [.keep, .hold])
        for _ in 0..<ShardCustody.mostFailures {
            #expect(custody.heard(.started).isEmpty)
            #expect(custody.heard(Self.crash) == [.hold])
        }
        #expect(custody.heard(.started).isEmpty)
        #expect(custody.heard(Self.crash) == [.lose, .fail])
        #expect(custody.state == .vacant(left: false) && !custody.isRecovering)
        for event in [Event.started, .ready, Self.crash] { _ = custody.heard(event) }
        #expect(custody.state == .vacant(left: true) && custody.isRecovering)
    }

    @Test
    func `whatever happens in whatever order, nothing that was left is forgotten, kept twice, or given away twice`() {
        let events: [Event] = [
            .started, .ready, .collected(isComplete: true), .collected(isComplete: false), .recovered, .froze, .thawed,
            .committed, .replaced, Self.crash, .ended(leaves: true, restartsSoon: false), Self.loss,
        ]
        var count = 0
        func explore(_ custody: ShardCustody, _ depth: Int) {
            for event in events {
                var next = custody
                let actions = next.heard(event)
                count += 1
                let isEnd = if case .ended = event { true } else { false }
                // What is kept, lost or held is decided when a worker ends, and only then.
                let decides = actions.contains { [.keep, .lose, .hold, .fail].contains($0) }
                #expect(!decides || isEnd, "\(custody.state) \(event)")
                // Whoever waits is either kept or told.
                #expect(!actions.contains(.hold) || !actions.contains(.fail))
                #expect(!actions.contains(.keep) || !actions.contains(.lose))
                if isEnd, custody.state != next.state, custody.state != .retired {
                    #expect(actions.contains(.hold) || actions.contains(.fail), "\(custody.state) \(event)")
                    #expect(actions.contains(.hold) == next.isRecovering)
                }
                // A shard is given to a worker once, and what it makes of it is heard once.
                if actions.contains(.commit) { #expect(custody.state != .recovering && next.state == .recovering) }
                if actions.contains(.serve) { #expect(next.hasServed && !custody.hasServed) }
                // What is asked again is asked once: after that its worker serves.
                if actions.contains(.release) { #expect(custody.state != .serving && next.state == .serving) }
                if actions.contains(.release) { #expect(!next.isRecovering) }
                // Nothing is told to a worker that is not there.
                if case .vacant = custody.state { #expect(actions.isEmpty) }
                if case .vacant(true) = custody.state, event != .started { #expect(next == custody) }
                if depth > 0, next != custody { explore(next, depth - 1) }
            }
        }
        let begins: [ShardCustody] = [
            ShardCustody(.vacant(left: false), waits: true), ShardCustody(.vacant(left: true), waits: false),
            ShardCustody(.serving, waits: false), ShardCustody(.unconfirmed, waits: false),
        ]
        for begin in begins { explore(begin, 7) }
        #expect(count > 1000)
    }
}
