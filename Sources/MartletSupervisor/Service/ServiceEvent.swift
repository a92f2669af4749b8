// SPDX-License-Identifier: Apache-2.0

internal import Logging
internal import MartletCore

/// An important event in the service's life, which has an id in the journal (`MESSAGE_ID=`, systemd.journal-fields(7)).
///
/// Never change an id: operators and their tools search for them. They are also listed in docs/operating.md.
enum ServiceEvent: String, CaseIterable {
    case serves = "d262785df7b64881996aade76d1f209e"
    case stopped = "55bcbe9d21034b068e140924439e80f8"
    case workerEnded = "10ac9280fd014f0788220f8b7fe8b529"
    case workerTookOver = "5f3ef62e90e14f2d819c15dbbeb87c54"
    case workerNotReplaced = "db2be815ade243deb3bade633db32005"
    case workerHangs = "43922619e8b645c4aed231c17c6f6325"
    case reloaded = "8b08f3a9f8c946e29793a66dbba5ecde"
    case notReloaded = "3bf0a5ab250e48ed86c276d043d05ac4"
    case scaled = "53535d058bd74aec84224ebc45853def"
    case notScaled = "529cb6d4aee740fcba274c4eab118eb5"
    case upgraded = "4a92649720864c9f91a74c36f0729069"
    case notUpgraded = "b2ac5c535d864697b4438c09b488476a"

    var message: String {
        switch self {
        case .serves: "Martlet \(Martlet.version) serves"
        case .stopped: "Stopped"
        case .workerEnded: "A worker has ended"
        case .workerTookOver: "A worker has taken over"
        case .workerNotReplaced: "A worker was not replaced"
        case .workerHangs: "Aborting a worker that stopped answering"
        case .reloaded: "Reloaded"
        case .notReloaded: "The configuration was not reloaded"
        case .scaled: "Scaled"
        case .notScaled: "The number of workers was not changed"
        case .upgraded: "Upgraded"
        case .notUpgraded: "The service was not upgraded"
        }
    }

    /// The level of the log line, unless its circumstances ask for another one.
    var level: Logger.Level {
        switch self {
        case .serves, .stopped, .reloaded, .scaled, .upgraded, .workerTookOver: .info
        case .workerEnded, .workerNotReplaced, .workerHangs, .notReloaded, .notScaled, .notUpgraded: .error
        }
    }

    /// The field by which the id reaches the journal; no other form of the log shows it.
    static let field = "message_id"
}

extension Logger {
    /// Logs an event with its id.
    func event(_ event: ServiceEvent, level: Logger.Level? = nil, metadata: Logger.Metadata = [:]) {
        let all = metadata.merging([ServiceEvent.field: "\(event.rawValue)"]) { $1 }
        log(level: level ?? event.level, "\(event.message)", metadata: all)
    }
}
