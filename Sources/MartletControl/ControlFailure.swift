// SPDX-License-Identifier: Apache-2.0

internal import MartletLinux
internal import MartletWire

/// Why an operator's command failed, as text, with the exit code.
enum ControlFailure: Error, CustomStringConvertible {
    case notRunning(String)
    case refused(status: Int, code: String?, String)
    case broken(String)
    case usage(String)

    var exitCode: Int32 {
        switch self {
        case .notRunning: 3
        case .usage: 2
        case .refused, .broken: 1
        }
    }

    /// The failure for programs: `{"error":{"detail":...}}`, with the service's status and code if it has answered.
    var json: String {
        var json = JSONWriter()
        json.beginObject()
        json.key("error")
        json.beginObject()
        switch self {
        case .notRunning(let why):
            json.member("code", "not_running")
            json.member("detail", why)
        case .refused(let status, let code, let why):
            json.member("status", status)
            json.member("code", code)
            json.member("detail", why)
        case .usage(let why):
            json.member("code", "usage")
            json.member("detail", why)
        case .broken(let why):
            json.member("code", "failed")
            json.member("detail", why)
        }
        json.endObject()
        json.endObject()
        return Printable.json(String(decoding: json.bytes, as: UTF8.self))
    }

    var description: String {
        switch self {
        case .notRunning(let why): why
        case .refused(let status, let code, let why): "\(why) (\(status)\(code.map { " " + $0 } ?? ""))"
        case .broken(let why), .usage(let why): why
        }
    }
}
