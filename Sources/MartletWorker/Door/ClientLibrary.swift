// SPDX-License-Identifier: Apache-2.0

internal import MartletWire

/// The client library for browsers, `martlet.js`, as the listeners for clients serve it to the pages of any origin.
enum ClientLibrary {
    private static let source = PackageResources.martlet_js
    private static let entityTag = "\"\(String(Checksum.crc32(source), radix: 16))-\(source.count)\""

    /// Answers a request for it: a browser that has this version already learns only that (RFC 9110, 13.1.2).
    static func answer(to request: HTTPRequest) -> HTTPResponse {
        let known = request[.ifNoneMatch]?.split(separator: ",").map(HTTPSyntax.trimmed) ?? []
        let isKnown = known.contains { $0 == "*" || ($0.hasPrefix("W/") ? $0.dropFirst(2) : $0[...]) == entityTag }
        return HTTPResponse(
            isKnown ? HTTPResponse.notModified : 200,
            .javascript,
            fields: [
                .init(name: "ETag", value: entityTag), .init(name: "Cache-Control", value: "no-cache"),
                .init(name: "Access-Control-Allow-Origin", value: "*"),
            ],
            body: source
        )
    }
}
