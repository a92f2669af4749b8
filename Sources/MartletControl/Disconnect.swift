// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletCore
internal import MartletLinux
internal import MartletWire

struct Disconnect: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Closes a user's connections, or one connection.")

    @OptionGroup var options: ControlOptions

    @Option(help: "All connections of a user.")
    var user: String?

    @Option(help: ArgumentHelp("One connection.", valueName: "id"))
    var connection: String?

    @Option(help: "The close code: 1000, 1001, 1008 or 3000 to 4999.")
    var code: Int?

    @Option(help: ArgumentHelp("The reason in the close frame.", valueName: "text"))
    var reason: String?

    func validate() throws {
        if (user == nil) == (connection == nil) { throw ValidationError("Give either --user or --connection.") }
    }

    func run() throws {
        var path =
            user.map { "/v1/users/\(HTTPSyntax.percentEncoded($0))/connections" }
            ?? "/v1/connections/\(HTTPSyntax.percentEncoded(connection ?? ""))"
        var parameters: [String] = []
        if let code { parameters.append("code=\(code)") }
        if let reason { parameters.append("reason=\(HTTPSyntax.percentEncoded(reason))") }
        if !parameters.isEmpty { path += "?" + parameters.joined(separator: "&") }
        var client = try options.client()
        let answer = try client.request("DELETE", path)
        let closed = try answer.json()["closed"]?.int ?? 0
        if options.json { try answer.printBody() } else { try StandardOutput.print("closed \(closed)") }
        if closed == 0 { throw ExitCode(1) }
    }
}
