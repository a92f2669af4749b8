import Foundation

/// What the programs under test were built with, as `make test-asan` and `make test-tsan` say.
public enum Sanitizer: String, Sendable {
    case address, thread

    /// Nil: they are as they are used.
    public static let present = ProcessInfo.processInfo.environment["MARTLET_SANITIZER"].flatMap {
        Sanitizer(rawValue: $0)
    }
}
