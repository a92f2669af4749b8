// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletCore

/// The options of every measurement.
struct LoadOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Where clients connect.", valueName: "host:port"))
    var client = "127.0.0.1:8000"

    @Option(help: ArgumentHelp("Where messages are published.", valueName: "host:port"))
    var api = "127.0.0.1:8001"

    @Option(help: "Path and query of the WebSocket; {user} is replaced by the user's name.")
    var path = "/ws?user={user}"

    @Option(
        help: ArgumentHelp(
            "The server's process (its children count too); found automatically for Martlet.",
            valueName: "pid"
        )
    )
    var serverPid: Int?

    @Flag(help: "Print JSON, for scripts.")
    var json = false

    @Option(help: "Seconds after which the run is given up.")
    var limit = 120
}
