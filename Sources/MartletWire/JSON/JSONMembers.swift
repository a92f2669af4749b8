/// Finds a member of an object in text that a ``JSONScanner`` has accepted, without building what else is there.
package enum JSONMembers {
    /// A longer text is no name that anybody compares with.
    private static let longestText = 256

    /// The text of the last member of that name in the outermost object; nil where there is none, or it is no short text.
    ///
    /// Costs one pass over the bytes, whatever a client puts into them.
    package static func text(of name: StaticString, in text: Span<UInt8>) -> String? {
        var offset = 0
        var depth = 0
        var found: Range<Int>?
        var isKey = false
        var isMatch = false
        while offset < text.count {
            switch text[offset] {
            case UInt8(ascii: "\""):
                let end = endOfString(text, offset)
                if depth == 1, isKey {
                    isMatch = equals(name, text, offset + 1..<end - 1)
                } else if depth == 1, isMatch {
                    found = offset..<end
                }
                offset = end
                continue
            case UInt8(ascii: "{"), UInt8(ascii: "["):
                if depth == 0, text[offset] == UInt8(ascii: "[") { return nil }
                if depth == 1, isMatch { found = nil }
                depth += 1
                isKey = depth == 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
            case UInt8(ascii: ":") where depth == 1:
                isKey = false
                if isMatch { found = nil }  // the last one counts
            case UInt8(ascii: ",") where depth == 1:
                isKey = true
                isMatch = false
            default: break
            }
            offset += 1
        }
        guard let found, found.count <= longestText else { return nil }
        return (try? JSONValue(text.extracting(found)))?.string
    }

    /// The offset behind a string's closing quote.
    private static func endOfString(_ text: Span<UInt8>, _ start: Int) -> Int {
        var offset = start + 1
        while offset < text.count, text[offset] != UInt8(ascii: "\"") {
            offset += text[offset] == UInt8(ascii: "\\") ? 2 : 1
        }
        return offset + 1
    }

    private static func equals(_ name: StaticString, _ text: Span<UInt8>, _ range: Range<Int>) -> Bool {
        guard range.count == name.utf8CodeUnitCount else { return false }
        return range.enumerated().allSatisfy { unsafe text[$1] == name.utf8Start[$0] }
    }
}
