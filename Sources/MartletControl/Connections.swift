// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletCore
internal import MartletLinux
internal import MartletWire

struct Connections: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Lists a user's connections, or all users with their number of connections."
    )

    @OptionGroup var options: ControlOptions

    @Option(help: "The user whose connections to list.")
    var user: String?

    func run() throws {
        var client = try options.client()
        guard let user else {
            let answer = try client.get("/v1/stats?by_user=true")
            let node = try answer.json()
            try StandardOutput.print(options.json ? Report.usersJSON(node) : Report.users(node))
            return
        }
        let answer = try client.get("/v1/users/\(HTTPSyntax.percentEncoded(user))/connections")
        if options.json {
            try answer.printBody()
        } else {
            try StandardOutput.print(Report.connections(try answer.json()))
        }
    }
}
