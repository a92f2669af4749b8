// SPDX-License-Identifier: Apache-2.0

import Testing

/// Does the same as `#expect` for conditions that mutate a value, or read one that cannot be copied, which the macro does not support.
func expect(_ condition: Bool, _ comment: Comment? = nil, at location: SourceLocation = #_sourceLocation) {
    #expect(condition, comment, sourceLocation: location)
}
