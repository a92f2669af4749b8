// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

// The origin of a client is stored at the front of its metadata, as a member of that object. A version that does not
// know origins reads it as metadata, so it survives a downgrade.

extension ClientOrigin {
    private static let key = "{\"martlet.client\":\""

    /// Returns the metadata of a connection with the origin in front of it; nil if there is neither.
    ///
    /// If both do not fit, the origin is left out, because metadata are more important.
    static func merged(_ origin: ClientOrigin?, _ metadata: String?) -> String? {
        guard let origin else { return metadata }
        let head = key + origin.address + " " + origin.agent + "\""
        guard let metadata else { return head + "}" }
        let rest = metadata.utf8.dropFirst()
        let isEmpty = rest.allSatisfy { [0x20, 0x09, 0x0A, 0x0D, UInt8(ascii: "}")].contains($0) }
        // A space distinguishes an empty object from none.
        let text = head + (isEmpty ? " " : ",") + String(Substring(rest))
        let fits = metadata.utf8.first == UInt8(ascii: "{") && text.utf8.count <= TokenPolicy.longestMetadata
        return fits ? text : metadata
    }

    /// Splits what ``merged(_:_:)`` has made.
    static func split(_ text: String?) -> (origin: ClientOrigin?, metadata: String?) {
        guard let text, text.utf8.starts(with: key.utf8) else { return (nil, text) }
        let body = text.utf8.dropFirst(key.utf8.count)
        guard let end = body.firstIndex(of: UInt8(ascii: "\"")) else { return (nil, text) }
        let words = body[..<end]
        let space = words.firstIndex(of: UInt8(ascii: " ")) ?? words.endIndex
        let origin = ClientOrigin(
            address: String(Substring(words[..<space])),
            agent: String(Substring(words[space...].dropFirst()))
        )
        let rest = body[body.index(after: end)...]
        // If there is only `}`, there was no metadata.
        if rest.first == UInt8(ascii: "}"), rest.count == 1 { return (origin, nil) }
        let isFollowed = rest.first == UInt8(ascii: ",")
        return (origin, "{" + String(Substring(isFollowed ? rest.dropFirst() : rest)))
    }
}
