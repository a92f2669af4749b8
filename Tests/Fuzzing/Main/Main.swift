import FuzzTargets

#if canImport(Glibc)
import Glibc
#endif

/// What the fuzzer calls with each input; `MARTLET_FUZZ_TARGET` names what reads it.
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
/// Without the fuzzer: says which targets there are.
@main
struct Main {
    static func main() {
        for target in FuzzTarget.allCases { print(target.rawValue) }
    }
}
#endif
