import Testing

/// `#expect` for conditions that change what they ask, which the macro cannot take.
func expect(_ condition: Bool, _ comment: Comment? = nil, at location: SourceLocation = #_sourceLocation) {
    #expect(condition, comment, sourceLocation: location)
}
