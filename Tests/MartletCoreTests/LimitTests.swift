// SPDX-License-Identifier: Apache-2.0

import MartletCore
import Testing

@Suite struct RateLimitTests {
    @Test func `a burst passes at once, and then events pass at the rate`() throws {
        let limit = try #require(RateLimit(perSecond: 10, burst: 3))
        var state: UInt64 = 0
        var passed: [UInt64] = []
        for milliseconds in stride(from: UInt64(1000), to: 2000, by: 10) {
            if let next = limit.admitting(state, now: milliseconds * 1_000_000) {
                state = next
                passed.append(milliseconds)
            }
        }
        #expect(passed == [1000, 1010, 1020, 1100, 1200, 1300, 1400, 1500, 1600, 1700, 1800, 1900])
        #expect(limit.wait(state, now: 1_900_000_000) == 100_000_000)
        #expect(RateLimit(perSecond: 0, burst: 1) == nil)
    }

    @Test func `a client over its rate is told, then closed when it goes on, and forgiven when it slows down`() throws {
        let limit = try #require(MessageLimit(perSecond: 10, burst: 2))
        var (state, strikes) = (UInt64(0), UInt32(0))
        func judge(_ milliseconds: UInt64) -> MessageLimit.Verdict {
            limit.judge(&state, strikes: &strikes, now: milliseconds * 1_000_000)
        }
        #expect(judge(1000) == .pass && judge(1000) == .pass)
        #expect(judge(1000) == .refuse(waitMilliseconds: 100))
        #expect(judge(1050) == .refuse(waitMilliseconds: 50))
        #expect(judge(1100) == .pass)
        #expect(strikes == 1)
        #expect(judge(1100) == .refuse(waitMilliseconds: 100))
        #expect(judge(1100) == .close)
    }

    @Test func `a client that sends ten times its rate is closed, one that sends a little more is told`() throws {
        let limit = try #require(MessageLimit(perSecond: 50, burst: 100))
        func run(everyMilliseconds interval: UInt64) -> (refused: Int, isClosed: Bool) {
            var (state, strikes, refused) = (UInt64(0), UInt32(0), 0)
            for now in stride(from: UInt64(0), to: 30_000, by: Int(interval)) {
                switch limit.judge(&state, strikes: &strikes, now: now * 1_000_000) {
                case .pass: break
                case .refuse: refused += 1
                case .close: return (refused, true)
                }
            }
            return (refused, false)
        }
        #expect(run(everyMilliseconds: 2).isClosed)
        #expect(run(everyMilliseconds: 20) == (0, false))
        let little = run(everyMilliseconds: 15)
        #expect(little.refused > 0 && !little.isClosed)
    }
}

@Suite struct DescriptorBudgetTests {
    @Test(arguments: [64, 128, 256, 1023, 1024, 4096, 20_000, 524_288, 1_048_576])
    func `no more descriptors are assigned than exist, and each purpose gets some`(limit: Int) {
        for http in [16, 4096, 1_000_000] {
            let budget = DescriptorBudget(limit: limit, http: http)
            let sum = budget.passing + 2 * budget.http + budget.sockets
            // The smallest tables have a few for each purpose, and none to spare.
            #expect(limit < 152 || sum <= limit - 96, "\(budget)")
            #expect(budget.passing >= 8 && budget.http >= 8 && budget.sockets >= 8 && budget.http <= max(8, http))
            if limit >= 4096, http <= 4096 { #expect(budget.sockets > limit * 2 / 3, "most are for clients") }
        }
    }
}

@Suite struct IdempotencyTests {
    @Test func `a repeated request gets the first answer, for five minutes, and a different one is detected`() {
        var record = IdempotencyRecord<Int>(capacity: 10)
        func find(_ key: String, _ fingerprint: UInt64, _ now: UInt64) -> String {
            switch record.find(key, fingerprint: fingerprint, now: now) {
            case .new: "new"
            case .known(let answer): "\(answer)"
            case .conflict: "conflict"
            }
        }
        #expect(find("k", 1, 0) == "new")
        record.remember("k", fingerprint: 1, 42, now: 0)
        #expect(find("k", 1, 299_999_999_999) == "42")
        #expect(find("k", 2, 1) == "conflict")
        #expect(find("k", 1, 300_000_000_000) == "new")
        record.remember("other", fingerprint: 1, 1, now: 300_000_000_000)
        #expect(record.count == 1, "what is too old is forgotten")
    }

    @Test func `too many answers push the oldest out, and that is counted`() {
        var record = IdempotencyRecord<Int>(capacity: 100)
        for number in 0..<5000 { record.remember("k\(number)", fingerprint: 0, number, now: UInt64(number)) }
        #expect(record.count == 100 && record.forgottenEarly == 4900)
        if case .known(4999) = record.find("k4999", fingerprint: 0, now: 5000) {} else { Issue.record("the newest") }
        if case .new = record.find("k4899", fingerprint: 0, now: 5000) {} else { Issue.record("the oldest") }
    }

    @Test func `a request that comes again while the first one is under way waits for its answer`() {
        var requests = RepeatedRequests(capacity: 10)
        let key = RequestKey("k", fingerprint: 1)
        func asker(_ number: UInt64, _ source: UInt16 = 0) -> PendingRequests.Key {
            PendingRequests.Key(source: source, correlation: number)
        }
        #expect(requests.begin(key, asker(1), now: 0) == .first)
        #expect(requests.begin(key, asker(2), now: 0) == .waits)
        #expect(requests.begin(RequestKey("k", fingerprint: 2), asker(3), now: 0) == .answered(.failed(.keyReused)))
        let receipt = CommandReply.receipt(Delivery(matched: 1, delivered: 1))
        #expect(requests.end(asker(1), receipt, now: 0) == [asker(2)])
        #expect(requests.begin(key, asker(4), now: 1) == .answered(receipt))
        #expect(requests.end(asker(9), receipt, now: 1) == [])
        // A request that failed may be tried again.
        let second = RequestKey("l", fingerprint: 1)
        #expect(requests.begin(second, asker(5), now: 0) == .first)
        #expect(requests.end(asker(5), .failed(.overloaded), now: 0) == [])
        #expect(requests.begin(second, asker(6, 1), now: 0) == .first)
    }
}

@Suite struct CountersTests {
    @Test func `observations fall into the bucket that bounds them`() {
        var histogram = Histogram()
        for nanoseconds: UInt64 in [0, 10_000, 10_001, 1_000_000, 20_000_000_000] { histogram.observe(nanoseconds) }
        #expect(histogram.count == 5 && histogram.sum == 20_001_020_001)
        #expect(histogram.counts[0] == 2 && histogram.counts[1] == 1 && histogram.counts.last == 1)
        var twice = histogram
        twice.merge(histogram)
        #expect(twice.count == 10)
        #expect(Histogram(counts: histogram.counts, sum: histogram.sum) == histogram)
        #expect(Histogram(counts: [1], sum: 1) == nil)
    }

    @Test func `every close code has a label, and clients cannot create labels`() {
        #expect(Set(CloseLabel.all).count == CloseLabel.all.count)
        for code in UInt16.min...UInt16.max { #expect(CloseLabel.all.indices.contains(CloseLabel.index(of: code))) }
        let labels = [1000, 4408, 1005, 1006, 1014, 3000, 4999, 0].map { CloseLabel.all[CloseLabel.index(of: $0)] }
        #expect(labels == ["1000", "4408", "1005", "1006", "1xxx", "3xxx", "4xxx", "1xxx"])
    }

    @Test func `counters of two workers add up`() {
        var first = Counters()
        first[.messagesSent] = 2
        first.closed(with: 4408)
        first[Timing.hop].observe(5)
        var second = first
        second.merge(first)
        #expect(second[.messagesSent] == 4)
        #expect(second.closes[CloseLabel.index(of: 4408)] == 2)
        #expect(second[Timing.hop].count == 2)
    }
}

@Suite struct MessageSizeTests {
    @Test func `a large message uses the rate of many small ones, and the next ones wait for it`() throws {
        let limit = try #require(MessageLimit(perSecond: 10, burst: 5))
        var (state, strikes): (UInt64, UInt32) = (0, 0)
        let second: UInt64 = 1_000_000_000
        expect(limit.judge(&state, strikes: &strikes, now: second) == .pass)
        limit.charge(&state, byteCount: 1 << 20, now: second)
        // There are 32 events in total, five of which could come at once.
        expect(limit.judge(&state, strikes: &strikes, now: second) == .refuse(waitMilliseconds: 2800))
        expect(limit.judge(&state, strikes: &strikes, now: 4 * second) == .pass)
        limit.charge(&state, byteCount: MessageLimit.bytesPerEvent, now: 4 * second)
        expect(limit.judge(&state, strikes: &strikes, now: 4 * second + second / 10) == .pass)
    }

    @Test func `numbers that another worker has left do not trap`() throws {
        let limit = try #require(MessageLimit(perSecond: 10, burst: 5))
        var (state, strikes): (UInt64, UInt32) = (.max, .max)
        expect(limit.judge(&state, strikes: &strikes, now: 1) == .close)
        strikes = 0
        if case .refuse = limit.judge(&state, strikes: &strikes, now: 1) {} else { Issue.record("it is far behind") }
        limit.charge(&state, byteCount: .max, now: .max)
    }
}

@Suite struct AddressRatesTests {
    @Test func `each address has its own rate, and does not wait for others`() throws {
        var rates = AddressRates(try #require(RateLimit(perSecond: 10, burst: 5)))
        for number in 0..<20 {
            expect(rates.admits(7, now: 1_000_000_000) == (number < 5))
            rates.count(7, now: 1_000_000_000)
        }
        expect(rates.admits(8, now: 1_000_000_000))
        expect(!rates.admits(7, now: 1_090_000_000) && rates.admits(7, now: 1_100_000_000))
    }

    @Test func `a full table forgets the addresses that were seen first, and takes no more memory`() throws {
        var rates = AddressRates(try #require(RateLimit(perSecond: 1, burst: 1)))
        for address in UInt64(1)...100_000 { rates.count(address, now: 1_000_000_000 + address) }
        expect(!rates.admits(100_000, now: 1_000_100_000) && rates.admits(1, now: 1_000_100_000))
    }
}
