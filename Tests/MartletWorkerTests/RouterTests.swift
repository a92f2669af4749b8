// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletLinux
import MartletWire
import Testing

@testable import MartletWorker

/// Where a command is carried out, and who waits for its answer.
@Suite(.serialized) struct RouterTests {
    private final class Fixture {
        let loop: EventLoop
        let link: Link
        let router: Router
        let tally = Tally()
        let map: ShardMap
        private let end: Int32
        private var stream = PeerStream()

        init(shards: Int = 2, bound: Int = 1_000_000) throws {
            let (ours, theirs) = try SocketPair(.stream).split()
            end = theirs
            loop = try EventLoop()
            link = try Link(descriptor: ours, shard: 0, bound: bound, loop: loop)
            map = ShardMap(shardCount: shards, generation: 5)
            router = Router(shard: 0, generation: 3, map: map, link: link, bound: bound, tally: tally)
        }

        deinit { closeDescriptor(end) }

        func user(of shard: Int) throws -> String {
            try #require((0..<1000).lazy.map { "user-\($0)" }.first { self.map.shard(ofUser: $0) == shard })
        }

        func route(_ command: Command, text: String = "", now: UInt64 = 0, line: Int = 0) -> Router.Route {
            let exchange = HTTPExchange.Limits(bodyBytes: 0, takesStreams: false)
            let connection = HTTPConnection(
                kind: .api,
                index: 0,
                generation: 0,
                accepted: .init(descriptor: -1, address: nil),
                limits: exchange,
                now: 0
            )
            let asker = Router.Asker.connection(connection, number: line, call: .command(command), since: 0)
            return router.route(Request(command), text: Array(text.utf8).span, for: asker, now: now)
        }

        /// The frames that were sent since this was asked last.
        func sent() throws -> [PeerHeader] {
            link.flush()
            _ = StreamSocket.receive(end, appendingTo: &stream.input, room: 65536)
            var headers: [PeerHeader] = []
            while let frame = try stream.next() { headers.append(frame.header) }
            return headers
        }

        /// Who waited for an answer, by the number of the request on its connection.
        func waiter(of correlation: UInt64, now: UInt64 = 1) -> Int? {
            switch router.asker(of: correlation, now: now) {
            case .connection(_, let number, _, _), .client(_, let number, _): number
            case .batch, nil: nil
            }
        }
    }

    private enum Goal: Sendable { case here, shard(UInt16), answered }

    @Test func `own users' commands are carried out here, others' are sent to their shard, with the map's generation`()
        throws
    {
        let fixture = try Fixture()
        let (own, other) = (try fixture.user(of: 0), try fixture.user(of: 1))
        #expect(fixture.route(.sendToUser(own)) == .here)
        #expect(fixture.route(.sendToUser(other), line: 7) == .elsewhere)
        let sent = try fixture.sent()
        #expect(sent.map(\.destination) == [1] && sent[0].mapGeneration == 5 && sent[0].source == 0)
        #expect(sent[0].correlation >> 40 == 3, "numbers begin with the generation")
        #expect(fixture.waiter(of: sent[0].correlation) == 7)
        #expect(fixture.waiter(of: sent[0].correlation) == nil, "an answer is given once")
    }

    @Test func `what concerns several shards goes to the switchboard, unless there is only one`() throws {
        let fixture = try Fixture()
        for command in [Command.sendToRoom(.thread("t")), .broadcast(excluding: []), .statistics(byUser: false)] {
            #expect(fixture.route(command) == .elsewhere)
        }
        let addresses = [PeerAddress.room, PeerAddress.everyShard, PeerAddress.everyShard]
        #expect(try fixture.sent().map(\.destination) == addresses)
        let alone = try Fixture(shards: 1)
        #expect(alone.route(.sendToRoom(.thread("t"))) == .here && alone.route(.broadcast(excluding: [])) == .here)
        #expect(alone.route(.statistics(byUser: false)) == .elsewhere, "the supervisor completes them")
    }

    @Test func `a later request does not overtake one that comes back here by the switchboard`() throws {
        let fixture = try Fixture()
        let own = try fixture.user(of: 0)
        #expect(fixture.route(.bind(user: own, thread: "t")) == .elsewhere, "the switchboard must know of it first")
        #expect(fixture.route(.sendToUser(own)) == .elsewhere)
        let sent = try fixture.sent()
        #expect(sent.map(\.destination) == [0, 0])
        for header in sent { _ = fixture.waiter(of: header.correlation) }
        #expect(fixture.route(.sendToUser(own)) == .here)
    }

    @Test func `a shard that takes no requests is not asked`() throws {
        let fixture = try Fixture()
        let other = try fixture.user(of: 1)
        let unavailable = Router.Route.answered(.failed(.shardUnavailable(partial: nil)))
        for (state, takes) in [(ShardState.down, false), (.starting, false), (.recovering, true), (.serving, true)] {
            fixture.router.update(ShardStates([.serving, state]))
            #expect((fixture.route(.sendToUser(other)) == unavailable) != takes, "\(state)")
            #expect(fixture.router.owner(ofUser: other).isServing == takes)
        }
        // A list of another number of shards says nothing of ours.
        fixture.router.update(ShardStates([.down]))
        #expect(fixture.route(.sendToUser(other)) == .elsewhere)
    }

    @Test func `a worker that has lost its shard carries nothing out`() throws {
        let fixture = try Fixture()
        let own = try fixture.user(of: 0)
        fixture.router.isRetired = true
        #expect(fixture.route(.sendToUser(own)) == .elsewhere && !fixture.router.isMine(0))
        #expect(try fixture.sent().map(\.destination) == [0])
    }

    @Test func `requests that wait are bounded in bytes, and what is answered makes room`() throws {
        let fixture = try Fixture(bound: 2000)
        let other = try fixture.user(of: 1)
        let text = String(repeating: "x", count: 900)
        var routes: [Router.Route] = []
        for _ in 0..<4 {
            routes.append(fixture.route(.sendToUser(other), text: text))
            fixture.link.flush()
        }
        #expect(routes == [.elsewhere, .elsewhere, .elsewhere, .answered(.failed(.overloaded))])
        let sent = try fixture.sent()
        for header in sent.prefix(2) { #expect(fixture.waiter(of: header.correlation) == 0) }
        #expect(fixture.route(.sendToUser(other), text: text) == .elsewhere)
    }

    @Test func `whoever waits too long is told, once, and a late answer finds nobody`() throws {
        let fixture = try Fixture()
        let other = try fixture.user(of: 1)
        for line in 0..<3 { #expect(fixture.route(.sendToUser(other), now: UInt64(line), line: line) == .elsewhere) }
        let sent = try fixture.sent()
        #expect(fixture.waiter(of: sent[1].correlation) == 1)
        #expect(fixture.router.expire(now: 9_999_999_999).isEmpty)
        #expect(fixture.router.expire(now: 10_000_000_002).count == 2)
        #expect(fixture.router.expire(now: .max).isEmpty)
        #expect(fixture.tally.counters[.requestsTimedOut] == 2)
        #expect(fixture.waiter(of: sent[0].correlation) == nil)
    }

    @Test func `another supervisor is asked again, in the same order and by the same numbers`() throws {
        let fixture = try Fixture()
        let other = try fixture.user(of: 1)
        for line in 0..<5 { #expect(fixture.route(.sendToUser(other), line: line) == .elsewhere) }
        let sent = try fixture.sent()
        _ = fixture.waiter(of: sent[2].correlation)
        fixture.router.askAgain()
        let again = try fixture.sent()
        #expect(again.map(\.correlation) == [0, 1, 3, 4].map { sent[$0].correlation })
    }
}
