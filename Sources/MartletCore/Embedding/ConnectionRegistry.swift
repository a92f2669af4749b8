// SPDX-License-Identifier: Apache-2.0

/// A view of a manager for an application that knows connections by its own objects.
package struct ConnectionRegistry: Sendable {
    package let manager: WebSocketManager

    package init(manager: WebSocketManager) {
        self.manager = manager
    }

    /// Registers a connection under the id of its info.
    package func register(user: String, info: ConnectionInfo, now: Int64) async {
        await manager.add(
            WebSocketConnection(
                id: info.connection,
                user: user,
                handle: info.handle,
                connectedAt: now,
                info: info
            )
        )
    }

    /// Returns the same info objects with which a user's connections were registered, in the order of registration.
    package func connections(of user: String) async -> [ConnectionInfo] {
        await manager.connections(ofUser: user).compactMap(\.info)
    }
}
