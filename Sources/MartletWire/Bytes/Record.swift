// SPDX-License-Identifier: Apache-2.0

package import MartletCore

/// A value whose fields are listed once, in ``code(_:)``, for writing and for reading.
///
/// To read one, begin with a blank value, and let the reader fill it.
package protocol Record {
    /// Goes over every field, in the order in which they lie in the bytes.
    mutating func code<Coder: FieldCoder>(_ coder: inout Coder) throws(Coder.Problem)
}

/// Writes the fields of a ``Record``, or reads them: integers little-endian, texts and raw bytes behind their length.
package protocol FieldCoder {
    /// What may be wrong with the bytes; a writer finds nothing wrong.
    associatedtype Problem: Error

    mutating func code<Value: FixedWidthInteger>(_ number: inout Value) throws(Problem)
    mutating func code(_ flag: inout Bool) throws(Problem)
    mutating func code(_ text: inout String) throws(Problem)
    mutating func code(_ text: inout String?, limit: Int) throws(Problem)
    mutating func code(_ texts: inout [String]) throws(Problem)
    mutating func code(_ raw: inout [UInt8], limit: Int) throws(Problem)
    mutating func code(_ statistics: inout ShardStatistics) throws(Problem)
    mutating func code<Number: FixedWidthInteger>(_ numbers: inout [Number]) throws(Problem)
    mutating func code(_ raws: inout [[UInt8]], limit: Int) throws(Problem)
    /// Goes over a list, each of whose elements takes at least `size` bytes; `blank` is one to be filled.
    mutating func code<Element: Record>(_ list: inout [Element], ofAtLeast size: Int, blank: Element) throws(Problem)
}

extension FieldCoder {
    package mutating func code(_ text: inout String?) throws(Problem) { try code(&text, limit: 65536) }

    package mutating func code(_ record: inout some Record) throws(Problem) { try record.code(&self) }
}

extension ByteWriter: FieldCoder {
    package mutating func code<Value: FixedWidthInteger>(_ number: inout Value) { put(number) }
    package mutating func code(_ flag: inout Bool) { put(flag) }
    package mutating func code(_ text: inout String) { put(text) }
    package mutating func code(_ text: inout String?, limit: Int) { put(text) }
    package mutating func code(_ texts: inout [String]) { put(texts) }
    package mutating func code(_ raw: inout [UInt8], limit: Int) { put(raw) }
    package mutating func code(_ statistics: inout ShardStatistics) { put(statistics) }

    package mutating func code<Number: FixedWidthInteger>(_ numbers: inout [Number]) {
        put(UInt32(numbers.count))
        for number in numbers { put(number) }
    }

    package mutating func code(_ raws: inout [[UInt8]], limit: Int) {
        put(UInt32(raws.count))
        for raw in raws { put(raw) }
    }

    package mutating func code<Element: Record>(_ list: inout [Element], ofAtLeast size: Int, blank: Element) {
        put(UInt32(list.count))
        for element in list { put(element) }
    }

    /// Writes a record.
    package mutating func put(_ record: some Record) {
        var record = record
        record.code(&self)
    }
}

extension ByteReader: FieldCoder {
    package mutating func code<Value: FixedWidthInteger>(_ number: inout Value) throws(WireError) {
        number = try integer()
    }

    package mutating func code(_ flag: inout Bool) throws(WireError) { flag = try self.flag() }
    package mutating func code(_ text: inout String) throws(WireError) { text = try self.text() }

    package mutating func code(_ text: inout String?, limit: Int) throws(WireError) {
        text = try optionalText(limit: limit)
    }

    package mutating func code(_ texts: inout [String]) throws(WireError) { texts = try self.texts() }
    package mutating func code(_ raw: inout [UInt8], limit: Int) throws(WireError) { raw = try self.raw(limit: limit) }

    package mutating func code(_ statistics: inout ShardStatistics) throws(WireError) {
        statistics = try shardStatistics()
    }

    package mutating func code<Number: FixedWidthInteger>(_ numbers: inout [Number]) throws(WireError) {
        numbers = []
        for _ in 0..<(try count(ofAtLeast: Number.bitWidth / 8)) { numbers.append(try integer()) }
    }

    package mutating func code(_ raws: inout [[UInt8]], limit: Int) throws(WireError) {
        raws = []
        for _ in 0..<(try count(ofAtLeast: 4)) { raws.append(try raw(limit: limit)) }
    }

    package mutating func code<Element: Record>(
        _ list: inout [Element],
        ofAtLeast size: Int,
        blank: Element
    ) throws(WireError) {
        list = []
        for _ in 0..<(try count(ofAtLeast: size)) {
            var element = blank
            try element.code(&self)
            list.append(element)
        }
    }
}
