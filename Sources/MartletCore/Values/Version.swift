// SPDX-License-Identifier: Apache-2.0

/// This build of Martlet.
package enum Martlet {
    package static let version = "0.1.0"
}
