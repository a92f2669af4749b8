// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// The segments of a request's path, which are decoded only when somebody asks for their text.
///
/// A slash that is part of a segment is sent as `%2F`.
struct PathSegments {
    /// How many segments the longest path of ours has; of longer ones, only the number is known.
    private static let most = 5

    private let request: HTTPRequest
    /// Where the segments lie in the head.
    private var places = InlineArray<5, HTTPHead.Place>(repeating: HTTPHead.Place(0..<0))
    private(set) var count = 0
    private var isPlain = true

    /// Finds the segments of a request's path; throws if one of them is badly encoded.
    init(_ request: HTTPRequest) throws(HTTPProblem) {
        self.request = request
        request.withBytes { find($0, in: request.pathPlace.range) }
        if isPlain { return }
        for index in 0..<min(count, Self.most) { _ = try text(index) }
    }

    private mutating func find(_ bytes: Span<UInt8>, in path: Range<Int>) {
        // Every path begins with a slash.
        var first = path.lowerBound + 1
        for end in first...path.upperBound {
            if end < path.upperBound, bytes[end] != UInt8(ascii: "/") {
                if bytes[end] == UInt8(ascii: "%") { isPlain = false }
                continue
            }
            if count < Self.most { places[count] = HTTPHead.Place(first..<end) }
            count += 1
            first = end + 1
        }
    }

    /// Returns true if a segment is this word.
    func has(_ word: StaticString, at index: Int) -> Bool {
        if request.withBytes({ $0.has(word, at: places[index].range) }) { return true }
        return !isPlain && (try? text(index))?.isExactly("\(word)") == true
    }

    /// Returns the text of a segment.
    func text(_ index: Int) throws(HTTPProblem) -> String {
        let text = request.withBytes { HTTPSyntax.percentDecoded($0, at: places[index].range, plusIsSpace: false) }
        guard let text else { throw .badEncoding }
        return text
    }
}

extension HTTPProblem {
    static let badEncoding = HTTPProblem.badRequest("the path or query is not percent-encoded UTF-8")
}
