extension SocketTable {
    /// Why a socket did not become a connection.
    enum Refusal: Error {
        case full
        /// The kernel counts other bytes than were read of it: nobody could go on with it.
        case miscounted
    }
}
