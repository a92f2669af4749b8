// SPDX-License-Identifier: Apache-2.0

import MartletCore
import MartletWire

/// The code that reads bytes of clients, backends, other processes or files.
///
/// Each target gets arbitrary bytes. It must read or refuse them, with the same result however they are divided into
/// pieces, and never trap. The fuzzer (`make fuzz`) looks for bytes that break this. What it has found is in
/// `Tests/Fuzzing/Corpus`, and every `make test` tries it.
public enum FuzzTarget: String, CaseIterable, Sendable {
    case http, messages, deflate, json, commands, peers, contract, tokens, recovery, imports, configuration

    /// Reads the bytes; a broken promise ends the process.
    public func run(_ bytes: [UInt8]) {
        switch self {
        case .http: HTTPFuzzing.run(bytes)
        case .messages: MessageFuzzing.run(bytes)
        case .deflate: DeflateFuzzing.run(bytes)
        case .json: JSONFuzzing.run(bytes)
        case .commands: CodingFuzzing.commands(bytes)
        case .peers: CodingFuzzing.peers(bytes)
        case .contract: CodingFuzzing.contract(bytes)
        case .tokens: CodingFuzzing.tokens(bytes)
        case .recovery: ArenaFuzzing.recover(bytes)
        case .imports: ArenaFuzzing.copy(bytes)
        case .configuration: ConfigurationFuzzing.run(bytes)
        }
    }
}

/// Ends the process if a promise is broken, so that the fuzzer keeps the bytes that did it.
func promise(_ condition: @autoclosure () -> Bool, _ what: @autoclosure () -> String) {
    if !condition() { fatalError("broken: \(what())") }
}

/// Bytes that decide what is done, and that are taken from the front.
struct Choices {
    private(set) var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

    mutating func number() -> Int { (0..<4).reduce(0) { value, _ in value << 8 | Int(byte()) } }
}
