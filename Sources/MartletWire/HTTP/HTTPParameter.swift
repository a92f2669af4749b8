// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// A parameter of a request's query, decoded.
package struct HTTPParameter: Equatable, Sendable {
    package let name: String
    package let value: String

    /// Reads all parameters of a query, in order; nil if one of them is badly encoded.
    static func all(in query: Span<UInt8>) -> [HTTPParameter]? {
        var result: [HTTPParameter] = []
        var start = 0
        while start < query.count {
            let end = self.end(query, start..<query.count, UInt8(ascii: "&"))
            if end > start {
                let equals = self.end(query, start..<end, UInt8(ascii: "="))
                guard let name = HTTPSyntax.percentDecoded(query, at: start..<equals, plusIsSpace: true),
                    let value = HTTPSyntax.percentDecoded(query, at: min(equals + 1, end)..<end, plusIsSpace: true)
                else { return nil }
                result.append(HTTPParameter(name: name, value: value))
            }
            start = end + 1
        }
        return result
    }

    /// Returns where a mark is in a part of the query; the part's end if it is not there.
    private static func end(_ query: Span<UInt8>, _ range: Range<Int>, _ mark: UInt8) -> Int {
        query.firstIndex(of: mark, in: range) ?? range.upperBound
    }
}

extension [HTTPParameter] {
    /// Returns the value of the parameter with that name; nil if there is none, or more than one.
    package func value(of name: String) -> String? {
        let values = filter { $0.name.isExactly(name) }
        return values.count == 1 ? values.first?.value : nil
    }

    /// Throws if one of these parameters is given more than once, because it is not clear which one is meant.
    package func checkSingle(_ names: [String]) throws(HTTPProblem) {
        for name in names where count(where: { $0.name.isExactly(name) }) > 1 {
            throw HTTPProblem(400, "repeated_parameter", "give \(name) only once")
        }
    }
}
