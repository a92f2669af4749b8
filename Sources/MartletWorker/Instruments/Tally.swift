// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// The counters that all parts of a worker share, besides those of the manager.
final class Tally {
    var counters = Counters()
}
