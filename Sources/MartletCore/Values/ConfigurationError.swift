// SPDX-License-Identifier: Apache-2.0

/// A configuration that cannot be used.
package struct ConfigurationError: Error, Equatable, CustomStringConvertible {
    /// The key as the file spells it, `client.listen`.
    package let key: String
    /// What is wrong, and what would be right.
    package let why: String
    /// Where the value was written, such as `/etc/martlet.yaml:12`; nil: nowhere, or not known yet.
    package private(set) var place: String?

    package init(key: String, why: String) {
        self.key = key
        self.why = why
    }

    package func at(_ place: String) -> ConfigurationError {
        var error = self
        error.place = place
        return error
    }

    package var description: String { (place.map { $0 + ": " } ?? "") + "\(key): \(why)" }
}
