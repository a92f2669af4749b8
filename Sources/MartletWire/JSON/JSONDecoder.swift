// SPDX-License-Identifier: Apache-2.0

internal import MartletCore

/// Builds a tree from text that a ``JSONScanner`` has accepted, so that it need not check again.
struct JSONDecoder {
    private var offset = 0
    /// Whether the last string had half of a surrogate pair.
    private var isBroken = false

    mutating func value(_ text: Span<UInt8>) -> JSONValue {
        skip(text)
        switch text[offset] {
        case UInt8(ascii: "{"): return object(text)
        case UInt8(ascii: "["): return array(text)
        case UInt8(ascii: "\""):
            isBroken = false
            let string = string(text)
            return isBroken ? .brokenString : .string(string)
        case UInt8(ascii: "t"):
            offset += 4
            return .bool(true)
        case UInt8(ascii: "f"):
            offset += 5
            return .bool(false)
        case UInt8(ascii: "n"):
            offset += 4
            return .null
        default: return number(text)
        }
    }

    private mutating func object(_ text: Span<UInt8>) -> JSONValue {
        var members: [JSONValue.Member] = []
        offset += 1
        skip(text)
        while text[offset] != UInt8(ascii: "}") {
            let key = string(text)
            skip(text)
            members.append(.init(key: key, value: value(text)))
            skip(text)
        }
        offset += 1
        return .object(members)
    }

    private mutating func array(_ text: Span<UInt8>) -> JSONValue {
        var values: [JSONValue] = []
        offset += 1
        skip(text)
        while text[offset] != UInt8(ascii: "]") {
            values.append(value(text))
            skip(text)
        }
        offset += 1
        return .array(values)
    }

    private mutating func number(_ text: Span<UInt8>) -> JSONValue {
        var characters: [UInt8] = []
        while offset < text.count, isNumberCharacter(text[offset]) {
            characters.append(text[offset])
            offset += 1
        }
        return .number(Double(String(decoding: characters, as: UTF8.self)) ?? .nan)
    }

    private func isNumberCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."),
            UInt8(ascii: "e"), UInt8(ascii: "E"):
            true
        default: false
        }
    }

    private mutating func string(_ text: Span<UInt8>) -> String {
        var bytes: [UInt8] = []
        offset += 1
        while text[offset] != UInt8(ascii: "\"") {
            if text[offset] == UInt8(ascii: "\\") {
                escape(text, into: &bytes)
            } else {
                bytes.append(text[offset])
                offset += 1
            }
        }
        offset += 1
        return String(decoding: bytes, as: UTF8.self)
    }

    private mutating func escape(_ text: Span<UInt8>, into bytes: inout [UInt8]) {
        let kind = text[offset + 1]
        offset += 2
        switch kind {
        case UInt8(ascii: "b"): bytes.append(8)
        case UInt8(ascii: "f"): bytes.append(12)
        case UInt8(ascii: "n"): bytes.append(10)
        case UInt8(ascii: "r"): bytes.append(13)
        case UInt8(ascii: "t"): bytes.append(9)
        case UInt8(ascii: "u"):
            var scalar = UInt32(codeUnit(text))
            if (0xD800..<0xDC00).contains(scalar), offset + 1 < text.count, text[offset] == UInt8(ascii: "\\"),
                text[offset + 1] == UInt8(ascii: "u")
            {
                let saved = offset
                offset += 2
                let low = UInt32(codeUnit(text))
                if (0xDC00..<0xE000).contains(low) {
                    scalar = 0x10000 + (scalar - 0xD800) << 10 + (low - 0xDC00)
                } else {
                    offset = saved
                }
            }
            if Unicode.Scalar(scalar) == nil { isBroken = true }
            bytes.append(contentsOf: String(Character(Unicode.Scalar(scalar) ?? "\u{FFFD}")).utf8)
        default: bytes.append(kind)
        }
    }

    private mutating func codeUnit(_ text: Span<UInt8>) -> UInt16 {
        var value: UInt16 = 0
        for _ in 0..<4 {
            value = value << 4 | UInt16(Hexadecimal.value(of: text[offset]) ?? 0)
            offset += 1
        }
        return value
    }

    private mutating func skip(_ text: Span<UInt8>) {
        while offset < text.count {
            switch text[offset] {
            case 0x20, 0x0A, 0x0D, 0x09, UInt8(ascii: ","), UInt8(ascii: ":"): offset += 1
            default: return
            }
        }
    }
}
