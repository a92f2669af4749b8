// SPDX-License-Identifier: Apache-2.0

internal import MartletCore
internal import MartletLinux
internal import MartletWire

// What happens when the supervisor is gone: the shard continues to serve, and waits for the next one.

extension Worker {
    /// Handles the tether: the next supervisor is there, or none will come.
    func tetherReady(_ manager: isolated WebSocketManager) {
        while true {
            switch tether.receive(most: 2) {
            case .none: return
            case .descriptors(let passed) where passed.count == 2: reconnect(link: passed[0], post: passed[1], manager)
            case .descriptors(let passed): passed.forEach(closeDescriptor)
            case .ended:
                loop.deregister(tether.descriptor)
                beginStopping(manager)
                return
            }
        }
    }

    /// Goes on with a new supervisor, for which the shard is ours, whatever was under way when the previous one ended.
    private func reconnect(link descriptor: Int32, post newPost: Int32, _ manager: isolated WebSocketManager) {
        replacePost(newPost, manager)
        do throws(SystemCallError) {
            try link.reconnect(descriptor)
        } catch {
            return beginStopping(manager)
        }
        if isStopping { return }
        if isOwner { shard.record.remindOfAnswers() } else { takeOver(manager) }
        tookOverAt = unsafe loop.now
        thaw(manager)
        shard.announceAllRooms(on: manager)
        link.send(.ready)
        link.send(.alive, CommandCoding.encode(.shard(statistics(byUser: false, manager))))
        router.askAgain()
    }

    /// Replaces the post; clients that came over the previous one, or wait to be passed on, are not lost.
    private func replacePost(_ descriptor: Int32, _ manager: isolated WebSocketManager) {
        postReady(manager)
        let waiting = post.takeWaiting()
        if isPostWatched { loop.deregister(post.descriptor) }
        let limit = CurrentProcess.raiseDescriptorLimit()
        let budget = DescriptorBudget(limit: limit, http: Int(contract.limits.httpConnections))
        post = Self.post(owning: descriptor, budget)
        isPostWritable = false
        isPostWatched = true
        try? loop.register(post.descriptor, token: EventToken(.post).rawValue, interest: .readable)
        for packet in waiting {
            guard let passed = packet.descriptor, (try? post.send(packet.bytes, descriptor: passed)) == nil else {
                continue
            }
            refuse(passed, try? AdoptionTicket(packet.bytes), APIAnswer.problem(.shardUnavailable(partial: nil)))
        }
    }
}
