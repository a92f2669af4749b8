// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// Random numbers of the kernel, which are fetched many at a time (getentropy(3)); each is given out once.
package struct RandomNumbers {
    private static let count = 32

    private var numbers = InlineArray<32, UInt64>(repeating: 0)
    private var left = 0

    package init() {}

    package mutating func next() -> UInt64 {
        if left == 0 { fetch() }
        left -= 1
        defer { numbers[left] = 0 }
        return numbers[left]
    }

    private mutating func fetch() {
        var span = numbers.mutableSpan
        let error = unsafe span.withUnsafeMutableBytes { unsafe getentropy($0.baseAddress, $0.count) }
        precondition(error == 0, "the kernel has no random numbers")
        left = Self.count
    }
}
