// SPDX-License-Identifier: Apache-2.0

internal import JWTKit
internal import MartletCore
internal import MartletWire

/// Why a key set cannot be used.
enum KeyProblem: Error, CustomStringConvertible {
    case notAKeySet
    case unknownType
    case noneUsable([String])

    var description: String {
        switch self {
        case .notAKeySet: "it is not a JSON Web Key Set: {\"keys\":[...]}"
        case .unknownType: "its type is not RSA, EC or OKP"
        case .noneUsable(let why): "it has no key that can be used: \(why.joined(separator: "; "))"
        }
    }
}
