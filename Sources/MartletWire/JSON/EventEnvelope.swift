// SPDX-License-Identifier: Apache-2.0

/// The form in which events reach clients, which has exactly the keys type, data and timestamp, in that order.
package enum EventEnvelope {
    /// Why a body is not an event.
    package enum Problem: Error, Equatable, Sendable {
        case noObject
        case noType
        /// There is another member besides type and data, with this name.
        case unknownMember(String)

        package var detail: String {
            switch self {
            case .noObject: "an event must be an object: {\"type\":\"agent_started\",\"data\":{}}"
            case .noType: "type must be a string that is not empty"
            case .unknownMember(let name): "an event may have only type and data, not '\(name)'"
            }
        }
    }

    /// Makes the envelope of an event that a backend posted as `{"type":...,"data":...}`, and copies the bytes of both.
    ///
    /// `body` must be valid JSON.
    package static func text(ofBody body: Span<UInt8>, unixMilliseconds: Int64) throws(Problem) -> [UInt8] {
        var type: Range<Int>?
        var data: Range<Int>?
        var unknown: Range<Int>?
        let isObject = JSONMembers.forEach(in: body) { key, value in
            if JSONMembers.equals("type", body, key) {
                type = value
            } else if JSONMembers.equals("data", body, key) {
                data = value
            } else {
                unknown = key
            }
        }
        guard isObject else { throw .noObject }
        if let unknown {
            let bytes = body.extracting(unknown)
            throw .unknownMember(String(decoding: bytes.indices.prefix(64).map { bytes[$0] }, as: UTF8.self))
        }
        guard let type, type.count > 2, body[type.lowerBound] == UInt8(ascii: "\"") else { throw .noType }
        return text(type: type, data: data, of: body, unixMilliseconds: unixMilliseconds)
    }

    /// Makes the envelope around a type (a JSON string with its quotes) and data (a JSON value; nil: null) in `text`.
    package static func text(
        type: Range<Int>,
        data: Range<Int>?,
        of text: Span<UInt8>,
        unixMilliseconds: Int64
    ) -> [UInt8] {
        var bytes = Array("{\"type\":".utf8)
        bytes.append(copying: text.extracting(type))
        bytes.append(contentsOf: ",\"data\":".utf8)
        if let data { bytes.append(copying: text.extracting(data)) } else { bytes.append(contentsOf: "null".utf8) }
        bytes.append(contentsOf: ",\"timestamp\":\"\(Timestamp.text(unixMilliseconds: unixMilliseconds))\"}".utf8)
        return bytes
    }
}
