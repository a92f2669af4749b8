// SPDX-License-Identifier: Apache-2.0

/// Lines of text, each of which ends with a line feed or at the end of the text.
package enum Lines {
    /// Passes each line that is not empty, without its end and a carriage return before it, until `body` returns false.
    package static func forEach(in text: Span<UInt8>, _ body: (Span<UInt8>) -> Bool) {
        var start = 0
        while start < text.count {
            var end = start
            while end < text.count, text[end] != UInt8(ascii: "\n") { end += 1 }
            let isReturned = end > start && text[end - 1] == UInt8(ascii: "\r")
            let line = text.extracting(start..<(isReturned ? end - 1 : end))
            if !line.isEmpty, !body(line) { return }
            start = end + 1
        }
    }
}
