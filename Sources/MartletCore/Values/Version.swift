/// This build of Martlet.
package enum Martlet {
    package static let version = "0.1.0"
}
