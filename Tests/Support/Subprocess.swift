import Foundation
import Synchronization

/// A child process whose lines of output are an ``EventLog``.
public final class Subprocess: Sendable {
    public struct Output: Sendable {
        public let text: String
        public let isError: Bool
    }

    private let process: Mutex<Process>
    private let input: Mutex<FileHandle>
    public let lines = EventLog<Output>()
    public let ends = EventLog<Int32>()
    public let pid: Int32

    /// Starts a program; every line that it prints goes to ``lines`` and `onLine`.
    public init(
        _ path: String,
        _ arguments: [String],
        environment: [String: String] = [:],
        onLine: (@Sendable (String) async -> Void)? = nil
    ) throws {
        let (process, pipes) = Self.prepared(path, arguments)
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let ends = ends
        process.terminationHandler = { ended in
            let status = ended.terminationStatus
            let code = ended.terminationReason == .exit ? status : -status
            Task { await ends.append(code) }
        }
        try process.run()
        pid = process.processIdentifier
        self.process = Mutex(process)
        input = Mutex(pipes.input.fileHandleForWriting)
        Self.read(pipes.output.fileHandleForReading, isError: false, into: lines, onLine)
        Self.read(pipes.error.fileHandleForReading, isError: true, into: lines, onLine)
    }

    private typealias Pipes = (input: Pipe, output: Pipe, error: Pipe)

    /// A process with pipes that no other child inherits: one that did would keep them open.
    private static func prepared(_ path: String, _ arguments: [String]) -> (Process, Pipes) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        let pipes = (input: Pipe(), output: Pipe(), error: Pipe())
        for pipe in [pipes.input, pipes.output, pipes.error] {
            for handle in [pipe.fileHandleForReading, pipe.fileHandleForWriting] {
                _ = fcntl(handle.fileDescriptor, F_SETFD, FD_CLOEXEC)
            }
        }
        process.standardInput = pipes.input
        process.standardOutput = pipes.output
        process.standardError = pipes.error
        return (process, pipes)
    }

    /// Reads lines on a thread of its own: pipes block.
    private static func read(
        _ handle: FileHandle,
        isError: Bool,
        into lines: EventLog<Output>,
        _ onLine: (@Sendable (String) async -> Void)?
    ) {
        let (stream, continuation) = AsyncStream<String>.makeStream()
        Thread.detachNewThread {
            var line = Data()
            while true {
                let piece = handle.availableData
                if piece.isEmpty { break }
                let parts = piece.split(separator: 10, omittingEmptySubsequences: false)
                for (index, part) in parts.enumerated() {
                    line.append(part)
                    if index == parts.count - 1 { break }
                    continuation.yield(String(decoding: line, as: UTF8.self))
                    line = Data()
                }
            }
            try? handle.close()
            continuation.finish()
        }
        Task {
            for await line in stream {
                await lines.append(Output(text: line, isError: isError))
                await onLine?(line)
            }
        }
    }

    public func write(_ line: String) {
        input.withLock { $0.write(Data((line + "\n").utf8)) }
    }

    public func closeInput() { input.withLock { try? $0.close() } }

    public func signal(_ number: Int32) { kill(pid, number) }

    /// The exit code (negative: the signal), once it has ended.
    public func waitForEnd(seconds: Double = 20) async throws -> Int32 {
        try await ends.wait("end of the process", seconds: seconds) { !$0.isEmpty }
        return await ends.events.first ?? 0
    }

    /// Runs a program to its end.
    public static func run(
        _ path: String,
        _ arguments: [String],
        input: String? = nil
    ) async throws -> (
        code: Int32, output: String, error: String
    ) {
        let (process, pipes) = prepared(path, arguments)
        let ends = EventLog<Int32>()
        process.terminationHandler = { ended in
            let code = ended.terminationReason == .exit ? ended.terminationStatus : -ended.terminationStatus
            Task { await ends.append(code) }
        }
        try process.run()
        if let input { pipes.input.fileHandleForWriting.write(Data(input.utf8)) }
        try pipes.input.fileHandleForWriting.close()
        let output = pipes.output.fileHandleForReading
        let error = pipes.error.fileHandleForReading
        async let outputText = contents(of: output)
        async let errorText = contents(of: error)
        let texts = await (outputText, errorText)
        try await ends.wait("end of \(path)", seconds: 60) { !$0.isEmpty }
        return (await ends.events.first ?? 0, texts.0, texts.1)
    }

    private static func contents(of handle: FileHandle) async -> String {
        await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                let data = handle.readDataToEndOfFile()
                try? handle.close()
                continuation.resume(returning: String(decoding: data, as: UTF8.self))
            }
        }
    }
}
