// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// Writes families of metrics.
struct Metrics {
    typealias Labels = [(name: String, value: String)]

    private(set) var text = ""

    mutating func family(_ name: String, _ type: String, _ help: String, _ samples: [(Labels, String)]) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
        for (labels, value) in samples { sample(name, labels, value) }
    }

    mutating func gauge(_ name: String, _ help: String, _ labels: Labels, _ value: String) {
        family(name, "gauge", help, [(labels, value)])
    }

    mutating func counter(_ name: String, _ help: String, _ samples: [(Labels, Int)]) {
        family(name, "counter", help, samples.map { ($0.0, "\($0.1)") })
    }

    mutating func histogram(_ name: String, _ help: String, _ histogram: Histogram) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) histogram\n"
        var sum: UInt64 = 0
        for (bound, count) in zip(Histogram.bounds, histogram.counts) {
            sum &+= count
            sample(name + "_bucket", [("le", MetricsText.decimal(bound))], "\(sum)")
        }
        sample(name + "_bucket", [("le", "+Inf")], "\(histogram.count)")
        sample(name + "_sum", [], MetricsText.decimal(histogram.sum))
        sample(name + "_count", [], "\(histogram.count)")
    }

    private mutating func sample(_ name: String, _ labels: Labels, _ value: String) {
        // None of our labels has a character that must be escaped.
        let list = labels.map { "\($0.name)=\"\($0.value)\"" }.joined(separator: ",")
        text += list.isEmpty ? "\(name) \(value)\n" : "\(name){\(list)} \(value)\n"
    }
}
