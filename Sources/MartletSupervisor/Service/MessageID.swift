internal import MartletCore

/// The `MESSAGE_ID=` of events in the service's life, for the journal (journalctl(1), systemd.journal-fields(7)).
///
/// Never change one: operators and their tools search for them. They are also listed in docs/operating.md.
enum MessageID {
    private static let known: [String: String] = [
        "Martlet \(Martlet.version) serves": "d262785df7b64881996aade76d1f209e",
        "Stopped": "55bcbe9d21034b068e140924439e80f8",
        "A worker has ended": "10ac9280fd014f0788220f8b7fe8b529",
        "A worker has taken over": "5f3ef62e90e14f2d819c15dbbeb87c54",
        "A worker was not replaced": "db2be815ade243deb3bade633db32005",
        "Aborting a worker that stopped answering": "43922619e8b645c4aed231c17c6f6325",
        "Reloaded": "8b08f3a9f8c946e29793a66dbba5ecde",
        "The configuration was not reloaded": "3bf0a5ab250e48ed86c276d043d05ac4",
        "Scaled": "53535d058bd74aec84224ebc45853def",
        "The number of workers was not changed": "529cb6d4aee740fcba274c4eab118eb5",
        "Upgraded": "4a92649720864c9f91a74c36f0729069",
        "The service was not upgraded": "b2ac5c535d864697b4438c09b488476a",
    ]

    /// Returns the id of the event that a message describes; nil if the event has none.
    static func of(_ message: String) -> String? { known[message] }
}
