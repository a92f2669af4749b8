// SPDX-License-Identifier: Apache-2.0

internal import CYaml

/// The events of a YAML document, one after another, as libyaml reports them.
@safe
struct YAMLEvents: ~Copyable {
    /// What comes next in a document.
    enum Event {
        /// A value; `isPlain` means that it is written without quotes, so that `null` may mean nothing.
        case scalar(String, isPlain: Bool)
        case listStart, listEnd
        case sectionStart, sectionEnd
        case documentStart, documentEnd
        case alias
        /// The end of the file.
        case end
    }

    private let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
    private let bytes: UnsafeMutableBufferPointer<UInt8>
    /// The line of the event that was taken last, counted from 1.
    private(set) var line = 1

    init(_ source: [UInt8]) {
        unsafe bytes = .allocate(capacity: source.count)
        _ = unsafe bytes.initialize(from: source)
        unsafe yaml_parser_initialize(parser)
        unsafe yaml_parser_set_input_string(parser, bytes.baseAddress, bytes.count)
        // Otherwise a file without a byte order mark could be taken for UTF-16.
        unsafe yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
    }

    deinit {
        unsafe yaml_parser_delete(parser)
        unsafe parser.deallocate()
        unsafe bytes.deallocate()
    }

    /// Takes the next event.
    mutating func next() throws(YAMLProblem) -> Event {
        while true {
            var event = unsafe yaml_event_t()
            guard unsafe yaml_parser_parse(parser, &event) == 1 else { throw problem }
            defer { unsafe yaml_event_delete(&event) }
            line = unsafe Int(event.start_mark.line) + 1
            switch unsafe event.type {
            case YAML_SCALAR_EVENT:
                let scalar = unsafe event.data.scalar
                try check(isMarked: unsafe scalar.tag != nil || scalar.anchor != nil)
                let text = unsafe UnsafeBufferPointer(start: scalar.value, count: scalar.length)
                let isPlain = unsafe scalar.style == YAML_PLAIN_SCALAR_STYLE
                return unsafe .scalar(String(decoding: text, as: UTF8.self), isPlain: isPlain)
            case YAML_SEQUENCE_START_EVENT:
                let start = unsafe event.data.sequence_start
                try check(isMarked: unsafe start.tag != nil || start.anchor != nil)
                return .listStart
            case YAML_SEQUENCE_END_EVENT: return .listEnd
            case YAML_MAPPING_START_EVENT:
                let start = unsafe event.data.mapping_start
                try check(isMarked: unsafe start.tag != nil || start.anchor != nil)
                return .sectionStart
            case YAML_MAPPING_END_EVENT: return .sectionEnd
            case YAML_DOCUMENT_START_EVENT: return .documentStart
            case YAML_DOCUMENT_END_EVENT: return .documentEnd
            case YAML_ALIAS_EVENT: return .alias
            case YAML_STREAM_END_EVENT: return .end
            default: continue
            }
        }
    }

    /// Why the parser cannot go on, in its words.
    private var problem: YAMLProblem {
        let words = unsafe parser.pointee.problem.map { unsafe String(cString: $0) } ?? "it is not YAML"
        let context = unsafe parser.pointee.context.map { unsafe " (" + String(cString: $0) + ")" } ?? ""
        // A byte that is no text has no mark yet.
        let isByte = unsafe parser.pointee.error == YAML_READER_ERROR
        let before = unsafe bytes.prefix(Int(parser.pointee.problem_offset))
        let lines = unsafe isByte ? before.count { $0 == 0x0A } : Int(parser.pointee.problem_mark.line)
        return YAMLProblem(line: lines + 1, why: words + context)
    }

    /// Throws for a value with a tag (`!name`) or an anchor (`&name`), which would mean something else to other readers.
    private func check(isMarked: Bool) throws(YAMLProblem) {
        if isMarked { throw YAMLProblem(line: line, why: "tags (!name) and anchors (&name) are not read here") }
    }
}

/// Why a document cannot be read, and where.
struct YAMLProblem: Error, Equatable {
    let line: Int
    let why: String
}
