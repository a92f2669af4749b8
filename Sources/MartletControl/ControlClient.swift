// SPDX-License-Identifier: Apache-2.0

internal import MartletLinux
internal import MartletWire

/// Speaks HTTP over the control socket: it blocks, and sends one request after another.
struct ControlClient: ~Copyable {
    struct Answer {
        let status: Int
        let body: [UInt8]

        func json() throws(ControlFailure) -> JSONValue {
            do throws(JSONFailure) {
                return try JSONValue(body)
            } catch {
                throw .broken("the service sent something that is not JSON: \(error.why)")
            }
        }

        func printBody() throws(SystemCallError) {
            try StandardOutput.print(Printable.json(String(decoding: body, as: UTF8.self)))
        }
    }

    /// How long the service may take for an answer, in seconds.
    enum Patience: Int {
        /// Queries and sends are answered within ten seconds.
        case usual = 15
        /// Each step of a replacement has its own deadline in the service; there may be 128 workers.
        case replacement = 3600
    }

    private let socket: OwnedDescriptor
    private let patience: Int

    /// Connects to the given path, or otherwise to the first service that runs: the system's, then this user's.
    init(path: String?, patience: Patience = .usual) throws(ControlFailure) {
        self.patience = patience.rawValue
        let development = ControlAddress.development(
            runtimeDirectory: CurrentProcess.environment("XDG_RUNTIME_DIR"),
            temporaryDirectory: CurrentProcess.environment("TMPDIR"),
            user: CurrentProcess.effectiveUser
        )
        let candidates = path.map { [$0] } ?? [ControlAddress.service, development.socket]
        var failures: [String] = []
        for candidate in candidates {
            do throws(SystemCallError) {
                socket = try Listener.connect(to: .unix(path: candidate))
                StreamSocket.setTimeouts(socket.number, seconds: self.patience)
                return
            } catch {
                if error.isDenied {
                    throw .broken("\(candidate): permission denied (are you in the group martlet-admin?)")
                }
                failures.append(candidate)
            }
        }
        throw .notRunning("no Martlet is running here (no answer at \(failures.joined(separator: " or ")))")
    }

    mutating func get(_ path: String) throws(ControlFailure) -> Answer { try request("GET", path) }

    /// Sends a request and waits for its answer; a refusal is thrown with the service's message.
    mutating func request(_ method: String, _ path: String, body: [UInt8] = []) throws(ControlFailure) -> Answer {
        var head = "\(method) \(path) HTTP/1.1\r\nHost: martlet\r\n"
        if method == "POST" { head += "Content-Type: application/json\r\nContent-Length: \(body.count)\r\n" }
        try send(Array((head + "\r\n").utf8) + body)
        let answer = try receive()
        guard answer.status < 300 else {
            let detail = try? answer.json()["detail"]?.string
            let code = try? answer.json()["code"]?.string
            throw .refused(status: answer.status, code: code ?? nil, (detail ?? nil) ?? "the service refused")
        }
        return answer
    }

    private func send(_ bytes: [UInt8]) throws(ControlFailure) {
        do throws(SystemCallError) {
            try BlockingStream.write(socket.number, bytes)
        } catch {
            throw .broken("\(error)")
        }
    }

    private static func head(_ bytes: [UInt8]) throws(ControlFailure) -> HTTPAnswerHead? {
        do throws(HTTPProblem) {
            return try HTTPAnswerHead(in: bytes)
        } catch {
            throw .broken("the service sent something that is not HTTP")
        }
    }

    private func receive() throws(ControlFailure) -> Answer {
        var bytes: [UInt8] = []
        var head: (status: Int, end: Int, length: Int)?
        while true {
            if head == nil, let parsed = try Self.head(bytes) {
                head = (parsed.status, parsed.count, parsed.contentLength ?? 0)
            }
            if let head, bytes.count >= head.end + head.length {
                return Answer(status: head.status, body: Array(bytes[head.end..<head.end + head.length]))
            }
            let piece: [UInt8]
            do throws(SystemCallError) {
                piece = try BlockingStream.read(socket.number, atMost: 65536)
            } catch {
                if error.isTimeout { throw .broken("the service did not answer within \(patience) seconds") }
                throw .broken("\(error)")
            }
            if piece.isEmpty { throw .broken("the service closed the connection") }
            bytes += piece
        }
    }
}
