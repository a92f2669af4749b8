// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletLinux
internal import MartletWire

struct Send: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Sends a JSON message, or an event (exit 1 if it was delivered to nobody)."
    )

    @OptionGroup var options: ControlOptions

    @Option(help: "To every connection of a user.")
    var user: String?

    @Option(help: "To everybody in a thread.")
    var thread: String?

    @Option(help: "To the watchers of a job.")
    var job: String?

    @Option(help: ArgumentHelp("To one connection.", valueName: "id"))
    var connection: String?

    @Flag(help: "To everybody.")
    var all = false

    @Option(help: ArgumentHelp("Send an event of this type, whose data is the message.", valueName: "type"))
    var event: String?

    @Argument(help: "The message, as JSON; - reads it from standard input.")
    var message: String

    func validate() throws {
        let addresses = [user != nil, thread != nil, job != nil, connection != nil, all]
        if addresses.count(where: { $0 }) != 1 {
            throw ValidationError("Give exactly one of --user, --thread, --job, --connection and --all.")
        }
    }

    private var path: String {
        let named = [("users", user), ("threads", thread), ("jobs", job), ("connections", connection)]
        let what = event == nil ? "messages" : "events"
        for case (let kind, let id?) in named { return "/v1/\(kind)/\(HTTPSyntax.percentEncoded(id))/\(what)" }
        return event == nil ? "/v1/broadcast" : "/v1/broadcast/events"
    }

    func run() throws {
        var client = try options.client()
        var body = message == "-" ? try StandardInput.readAll() : Array(message.utf8)
        if let event {
            var json = JSONWriter()
            json.beginObject()
            json.member("type", event)
            json.key("data")
            json.value(json: String(decoding: body, as: UTF8.self))
            json.endObject()
            body = json.bytes
        }
        let answer = try client.request("POST", path, body: body)
        if options.json { try answer.printBody() } else { try StandardOutput.print(Report.receipt(try answer.json())) }
        if try answer.json()["delivered"]?.int == 0 { throw ExitCode(1) }
    }
}
