// SPDX-License-Identifier: Apache-2.0

internal import MartletLinux

/// The link and the post between the supervisor and a worker: our ends, and the worker's.
struct WorkerChannels: ~Copyable {
    let link: OwnedDescriptor
    let post: DescriptorChannel
    let theirLink: OwnedDescriptor
    let theirPost: OwnedDescriptor

    private static let bufferSize = 1 << 20

    /// Makes both; `window` is how many clients may be on their way to us.
    init(window: Int) throws(SystemCallError) {
        let (ourLink, theirLink) = try SocketPair(.stream).split()
        let ours = OwnedDescriptor(owning: ourLink)
        let theirs = OwnedDescriptor(owning: theirLink)
        let (ourPost, theirPost) = try SocketPair(.packets).split()
        for end in [ourLink, theirLink, theirPost] {
            StreamSocket.setBuffers(end, receive: Self.bufferSize, send: Self.bufferSize)
        }
        link = ours
        self.theirLink = theirs
        post = DescriptorChannel(owning: ourPost, window: window, bound: window)
        self.theirPost = OwnedDescriptor(owning: theirPost)
    }
}
