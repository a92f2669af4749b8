// SPDX-License-Identifier: Apache-2.0

internal import NIOCore
internal import NIOPosix

/// A publisher like a careful backend: one publish after another, each with a key, and repeated until it is answered.
///
/// It lives on its loop.
final class Backend {
    private static let pause = TimeAmount.milliseconds(20)
    private static let mostAttempts = 500

    private let api: API
    private let loop: any EventLoop
    private let name: String?
    private var number = 0
    private var publisher: Publisher?
    /// How many publishes had to be sent again.
    private(set) var repeated = 0
    /// Answers that were neither a receipt nor "try again".
    private(set) var refusals: [String] = []

    /// Makes a backend whose `name` is unique among this and earlier runs; nil: publishes have no keys.
    init(_ name: String?, _ api: API, on loop: any EventLoop) {
        self.name = name
        self.api = api
        self.loop = loop
    }

    /// Publishes a message; calls `onReceipt` with the receipt, or nil if there never was one.
    func publish(_ path: String, _ body: ByteBuffer, _ onReceipt: @escaping (String?) -> Void) {
        number += 1
        let key = name.map { "Idempotency-Key: \($0)-\(number)\r\n" } ?? ""
        attempt(path, body, key: key, left: Self.mostAttempts, onReceipt)
    }

    private func attempt(
        _ path: String,
        _ body: ByteBuffer,
        key: String,
        left: Int,
        _ onReceipt: @escaping (String?) -> Void
    ) {
        guard left > 0 else { return onReceipt(nil) }
        guard let publisher, publisher.failure == nil, !publisher.isEnding else {
            return connect { self.attempt(path, body, key: key, left: left - 1, onReceipt) }
        }
        publisher.post(path, body, fields: key) { status, text in
            if status == 200 { return onReceipt(text) }
            if status != 503, status != 0 { self.refusals.append("\(path): \(status) \(text.prefix(200))") }
            self.repeated += 1
            self.later { self.attempt(path, body, key: key, left: left - 1, onReceipt) }
        }
    }

    private func connect(_ then: @escaping () -> Void) {
        publisher?.close()
        publisher = nil
        let parts = NIOLoopBound((self, then), eventLoop: loop)
        Publisher.connect(to: api, on: loop).whenComplete { result in
            let (backend, then) = parts.value
            switch result {
            case .success(let publisher):
                backend.publisher = publisher.value
                then()
            case .failure: backend.later(then)
            }
        }
    }

    private func later(_ then: @escaping () -> Void) {
        let bound = NIOLoopBound(then, eventLoop: loop)
        loop.scheduleTask(in: Self.pause) { bound.value() }
    }
}
