// SPDX-License-Identifier: Apache-2.0

internal import ArgumentParser
internal import MartletLinux
internal import MartletWire

struct Token: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Makes a token for a user, signed by the service with auth.hmac_secret_file."
    )

    @OptionGroup var options: ControlOptions

    @Option(help: "The user that the token is for.")
    var user: String

    @Option(help: ArgumentHelp("How long it is valid: 30s, 15m, 1h, 7d.", valueName: "time"))
    var ttl = "1h"

    @Option(help: ArgumentHelp("A thread that its bearer is in; may be repeated.", valueName: "id"))
    var thread: [String] = []

    @Option(help: ArgumentHelp("A job that its bearer watches; may be repeated.", valueName: "id"))
    var job: [String] = []

    /// The lifetime in seconds; nil if it is not valid.
    private var seconds: Int? {
        let units = ["s": 1, "m": 60, "h": 3600, "d": 86400]
        guard let unit = ttl.last.flatMap({ units[String($0)] }), let number = Int(ttl.dropLast()), number > 0,
            number <= 315_360_000 / unit
        else { return nil }
        return number * unit
    }

    func validate() throws {
        if seconds == nil { throw ValidationError("--ttl: '\(ttl)' is not a time: write 30s, 15m, 1h or 7d.") }
    }

    func run() throws {
        var query = "user=\(HTTPSyntax.percentEncoded(user))&seconds=\(seconds ?? 3600)"
        for thread in thread { query += "&thread=\(HTTPSyntax.percentEncoded(thread))" }
        for job in job { query += "&job=\(HTTPSyntax.percentEncoded(job))" }
        var client = try options.client()
        let answer = try client.request("POST", "/v1/tokens?\(query)")
        if options.json {
            try answer.printBody()
        } else {
            try StandardOutput.print(try answer.json()["token"]?.string ?? "")
        }
    }
}

struct CheckToken: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-token",
        abstract: "Says whether the service accepts a token (exit 1 if not), and shows its contents."
    )

    @OptionGroup var options: ControlOptions

    @Argument(help: "The token; - reads it from standard input.")
    var token: String

    func run() throws {
        let bytes = token == "-" ? try StandardInput.readAll() : Array(token.utf8)
        // A line of a file may end with CR LF, which is one Character of a String.
        let isSpace = { (byte: UInt8) in [0x20, 0x09, 0x0A, 0x0D].contains(byte) }
        let start = bytes.firstIndex { !isSpace($0) } ?? bytes.endIndex
        let end = bytes.lastIndex { !isSpace($0) } ?? start - 1
        let text = String(decoding: bytes[start..<end + 1], as: UTF8.self)
        var client = try options.client()
        let answer = try client.get("/v1/tokens/check?token=\(HTTPSyntax.percentEncoded(text))")
        if options.json { return try answer.printBody() }
        let rows = try answer.json().members.map { member in
            let list = member.value.array.compactMap(\.string)
            return [member.key, list.isEmpty ? Report.text(member.value) : list.joined(separator: " ")]
        }
        try StandardOutput.print("The token is good.\n" + Report.table(rows))
    }
}
