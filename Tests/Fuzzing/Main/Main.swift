// SPDX-License-Identifier: Apache-2.0

import FuzzTargets

#if canImport(Glibc)
import Glibc
#endif

/// Called by the fuzzer with each input, which the target that `MARTLET_FUZZ_TARGET` names reads.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    target.run(Array(UnsafeBufferPointer(start: start, count: count)))
    return 0
}

private let target: FuzzTarget = {
    let name = getenv("MARTLET_FUZZ_TARGET").map { String(cString: $0) } ?? ""
    guard let target = FuzzTarget(rawValue: name) else {
        print("MARTLET_FUZZ_TARGET must be one of \(FuzzTarget.allCases.map(\.rawValue).joined(separator: " "))")
        exit(2)
    }
    return target
}()

#if !FUZZING
/// Prints the names of the targets, if this is built without the fuzzer.
@main
struct Main {
    static func main() {
        for target in FuzzTarget.allCases { print(target.rawValue) }
    }
}
#endif
