// SPDX-License-Identifier: Apache-2.0

import Foundation

/// The sanitizer with which the programs under test were built, as `make test-asan` and `make test-tsan` say.
public enum Sanitizer: String, Sendable {
    case address, thread

    /// The sanitizer of the programs under test; nil: they have none.
    public static let present = ProcessInfo.processInfo.environment["MARTLET_SANITIZER"].flatMap {
        Sanitizer(rawValue: $0)
    }
}
