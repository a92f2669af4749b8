internal import MartletCore

/// What the rooms of a worker count beside the manager.
final class Tally {
    var counters = Counters()
}
