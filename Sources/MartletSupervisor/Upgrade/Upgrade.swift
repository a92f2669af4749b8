// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

/// An upgrade that is under way, up to the moment at which this program ends.
final class Upgrade {
    enum Stage {
        /// The next program checks a copy of our state.
        case checking
        /// Workers that were replaced still answer; nothing else waits for them.
        case waiting
        /// New requests wait for the next program; earlier ones are being answered.
        case draining
    }

    var stage = Stage.checking
    var deadline: UInt64
    let asker: Int32
    let respond: (HTTPResponse) -> Void
    let check: ChildProcess
    let problem: OwnedDescriptor

    init(
        _ check: ChildProcess,
        _ problem: consuming OwnedDescriptor,
        deadline: UInt64,
        asker: Int32,
        _ respond: @escaping (HTTPResponse) -> Void
    ) {
        self.check = check
        self.problem = problem
        self.deadline = deadline
        self.asker = asker
        self.respond = respond
    }

    /// Returns true for the process of the next program that checks our state.
    func isCheck(_ pid: Int32) -> Bool { check.pid == pid }
}
