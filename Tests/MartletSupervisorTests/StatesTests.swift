// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletLinux
import MartletWire
import Testing

@testable import MartletSupervisor

/// What one supervisor leaves for the next is read back as it was, and refused where it is anything else.
@Suite struct StatesTests {
    static func counters(_ base: Int) -> Counters {
        var counters = Counters()
        counters[.messagesSent] = base
        counters[.plannedRestarts] = base + 1
        return counters
    }

    static func storeState(shards: Int) -> StoreState {
        var state = StoreState()
        state.program = "0.1.0"
        state.run = 3
        state.mapGeneration = 7
        state.board = 0x0102_0304_0506_0708
        state.addressKey = 0x1112_1314_1516_1718
        state.developmentSecret = [1, 2, 3]
        state.workerProgram = "identity"
        state.configuration = [9, 8, 7]
        state.isPlanned = true
        for number in 0..<shards {
            var shard = StoreState.Shard()
            shard.generation = UInt32(number + 1)
            shard.pid = Int32(1000 + number)
            shard.keeperPid = Int32(2000 + number)
            (shard.tether, shard.post, shard.keeper) = (11, 12, 13)
            (shard.arena, shard.estate) = (14, UInt64(number))
            shard.restarts = number
            shard.lastEnd = number == 0 ? nil : "crash: signal 9"
            shard.ledger = counters(number)
            state.shards.append(shard)
        }
        return state
    }

    static func supervisorState(workers: Int) -> SupervisorState {
        var state = SupervisorState()
        state.program = "0.1.0"
        state.path = "/usr/libexec/martlet/martletd"
        (state.previous, state.workerProgram) = (7, 8)
        state.mapGeneration = 4
        state.startedAt = 123_456_789
        (state.clientListeners, state.apiListeners) = ([3, 4], [5])
        state.control = 6
        (state.clientAddress, state.apiAddress) = ("127.0.0.1:8000", "unix:/run/martlet/api.sock")
        state.ownedPaths = ["/run/martlet/control.sock"]
        (state.board, state.addressKey) = (9, 77)
        state.developmentSecret = [5, 5]
        state.asker = -1
        state.keepers = [4001, 4002]
        state.switchboard = [1, 2, 3, 4]
        (state.storeMemory, state.storedNames) = (12, ["state", "arena-1"])
        for number in 0..<workers {
            var worker = SupervisorState.Worker()
            worker.generation = UInt32(number + 1)
            (worker.pid, worker.keeperPid) = (100, 101)
            (worker.link, worker.post, worker.arena, worker.keeper, worker.tether) = (20, 21, 22, 23, 24)
            let waiting = DescriptorChannel.Packet(bytes: [1, 2], descriptor: number == 0 ? nil : 30)
            worker.postState = .init(window: .init(size: 8, available: 3, received: 1), owed: 2, waiting: [waiting])
            worker.reported.connections = 17
            worker.reported.lastEnd = "restart"
            worker.ledger.counters = counters(number)
            (worker.unread, worker.unsent) = ([1], [2, 3])
            state.workers.append(worker)
        }
        return state
    }

    @Test(arguments: [1, 2, 128]) func `a stored state is read back as it was`(shards: Int) throws {
        let state = Self.storeState(shards: shards)
        #expect(try StoreState(state.bytes) == state)
    }

    @Test(arguments: [1, 2, 128]) func `a supervisor's state is read back as it was`(workers: Int) throws {
        let state = Self.supervisorState(workers: workers)
        let read = try SupervisorState(state.bytes)
        #expect(read.bytes == state.bytes)
        #expect(read.descriptors == state.descriptors)
        #expect(read.workers.last?.postState.window == state.workers.last?.postState.window)
    }

    @Test func `states that are cut, longer, changed, or of another version are refused, and never trap`() {
        let states: [(bytes: [UInt8], read: ([UInt8]) throws -> Void)] = [
            (Self.storeState(shards: 2).bytes, { _ = try StoreState($0) }),
            (Self.supervisorState(workers: 2).bytes, { _ = try SupervisorState($0) }),
        ]
        var generator = SystemRandomNumberGenerator()
        for (bytes, read) in states {
            for length in 0..<bytes.count {
                #expect(throws: WireError.self, "\(length) of \(bytes.count) bytes") {
                    try read(Array(bytes[..<length]))
                }
            }
            #expect(throws: WireError.trailingBytes) { try read(bytes + [0]) }
            #expect(throws: WireError.wrongVersion) { try read([0xFF, 0xFF] + bytes.dropFirst(2)) }
            for _ in 0..<2000 {
                var changed = bytes
                for _ in 0..<Int.random(in: 1...8, using: &generator) {
                    let index = Int.random(in: 0..<bytes.count, using: &generator)
                    changed[index] = UInt8.random(in: 0...255, using: &generator)
                }
                try? read(changed)
            }
        }
    }

    @Test func `a key of the start without a value is refused`() throws {
        struct Odd: Record {
            mutating func code<Coder: FieldCoder>(_ coder: inout Coder) throws(Coder.Problem) {
                var (texts, connections, counts) = (["workers", "2", "client.listen"], 1, false)
                try coder.code(&texts)
                try coder.code(&connections)
                try coder.code(&counts)
            }
        }
        var (whole, odd) = (ByteWriter(), ByteWriter())
        whole.put(StartOnly())
        odd.put(Odd())
        let bytes = Self.storeState(shards: 1).bytes
        let start = try #require(bytes.indices.first { bytes[$0...].starts(with: whole.bytes + [7, 0, 0, 0]) })
        let changed = Array(bytes[..<start]) + odd.bytes + bytes[(start + whole.bytes.count)...]
        #expect(throws: WireError.unknownValue) { try StoreState(changed) }
    }

    @Test func `there is at least one shard, and no more than there can be`() {
        for count in [0, 129] {
            #expect(throws: WireError.unknownValue) { try StoreState(Self.storeState(shards: count).bytes) }
            #expect(throws: WireError.unknownValue) { try SupervisorState(Self.supervisorState(workers: count).bytes) }
        }
    }
}

/// What a worker is born with is of one version, which tells one form from another.
@Suite struct BirthContractTests {
    /// The digest of a contract's bytes, by the contract's version: whoever changes the fields raises the version, and adds
    /// a line.
    private static let forms: [UInt8: String] = [10: "75139b9b0206d860c87809c1295b7cc16ad6bc27"]

    private static func contract() -> BirthContract {
        var configuration = Configuration()
        configuration.client.allowedOrigins = ["https://example.org"]
        configuration.client.trustedProxies = ["10.0.0.0/8"]
        configuration.api.allowedUIDs = [33, 1000]
        var secrets = BirthContract.Secrets()
        secrets.hmac = Array(repeating: 7, count: 32)
        secrets.jwks = "{}"
        secrets.apiKeys = [[1, 2], [3]]
        return BirthContract(
            shard: 1,
            generation: 2,
            map: ShardMap(shardCount: 3, generation: 4),
            clientListeners: 5,
            apiListeners: 6,
            metricsListeners: 7,
            inherits: true,
            sources: 8,
            isUnstable: true,
            configuration: configuration,
            secrets: secrets,
            addressKey: 9
        )
    }

    @Test func `a contract whose fields have changed has another version`() throws {
        let digest = SHA1.digest(Self.contract().bytes).map { String(format2: $0) }.joined()
        #expect(
            Self.forms[BirthContract.version] == digest,
            "the fields have changed: raise BirthContract.version, and add its digest here"
        )
    }

    /// A configuration in which nothing is what an empty contract has.
    private static func fullConfiguration() -> Configuration {
        var configuration = Configuration()
        configuration.client.allowedOrigins = ["https://example.org"]
        configuration.client.trustedProxies = ["10.0.0.0/8"]
        configuration.client.tokenInQuery = true
        configuration.client.compression = true
        configuration.api.allowedUIDs = [33]
        configuration.api.unixSocket = .trusted
        configuration.rooms.threadReachesUser = true
        configuration.limits.overUserLimit = .replaceOldest
        configuration.limits.connectionsPerUser = 1
        configuration.limits.connectionsPerAddress = 2
        configuration.limits.handshakesPerSecond = 3
        configuration.limits.badTokensPerSecond = 4
        configuration.limits.messagesPerSecond = 5
        configuration.limits.messageBurst = 6
        return configuration
    }

    @Test func `every setting of the configuration reaches the contract, and comes through its bytes`() throws {
        let contract = BirthContract(
            shard: 0,
            generation: 1,
            map: ShardMap(shardCount: 1),
            clientListeners: 1,
            apiListeners: 1,
            configuration: Self.fullConfiguration(),
            secrets: BirthContract.Secrets(),
            addressKey: 9
        )
        let read = try BirthContract(contract.bytes)
        for (name, part) in [
            ("client", read.client as Any), ("api", read.api), ("limits", read.limits), ("timing", read.timing),
        ] {
            for child in Mirror(reflecting: part).children {
                let isBlank = ["0", "", "false", "[]"].contains("\(child.value)")
                #expect(
                    !isBlank,
                    "\(name).\(child.label ?? "?") is forgotten somewhere in ContractParts, or is blank in this test"
                )
            }
        }
    }

    @Test func `a contract is read back as it was, and refused where it is cut`() throws {
        let contract = Self.contract()
        #expect(try BirthContract(contract.bytes) == contract)
        for length in 0..<contract.bytes.count {
            #expect(throws: WireError.self) { try BirthContract(Array(contract.bytes[..<length])) }
        }
    }
}

extension String {
    /// A byte as two hexadecimal digits.
    fileprivate init(format2 byte: UInt8) {
        let text = String(byte, radix: 16)
        self = text.count == 1 ? "0" + text : text
    }
}
