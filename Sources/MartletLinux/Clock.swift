// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// The clocks that Martlet reads.
package enum Clock {
    /// Reads CLOCK_MONOTONIC, for deadlines.
    package static func monotonicNanoseconds() -> UInt64 { read(CLOCK_MONOTONIC) }

    /// Reads CLOCK_REALTIME in milliseconds since 1970, for people and for records that outlive a boot.
    package static func unixMilliseconds() -> Int64 { Int64(read(CLOCK_REALTIME) / 1_000_000) }

    /// Returns the CPU time (user and system) that this process has used.
    package static func processNanoseconds() -> UInt64 { read(CLOCK_PROCESS_CPUTIME_ID) }

    private static func read(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        unsafe clock_gettime(clock, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
