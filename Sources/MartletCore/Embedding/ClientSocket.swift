/// One client's connection, as an application that embeds the library has it.
package protocol ClientSocket: AnyObject {
    /// Accepts a text message into a bounded queue, or says at once why not; never waits for the network.
    func send(_ text: String) -> SendFailure?

    /// Begins the closing handshake.
    func close(code: UInt16, reason: String)

    /// True while messages are taken.
    var isOpen: Bool { get }
}
