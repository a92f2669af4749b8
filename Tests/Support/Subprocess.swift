// SPDX-License-Identifier: Apache-2.0

import Foundation
import MartletLinux
import Synchronization

/// A child process whose lines of output are an ``EventLog``.
///
/// It is started by our own ``ChildProcess``: a pidfd reports its end, whoever else holds its descriptors.
public final class Subprocess: Sendable {
    public struct Output: Sendable {
        public let text: String
        public let isError: Bool
    }

    private let input: Mutex<FileHandle?>
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
        let child = try Started(path, arguments, environment, ends)
        pid = child.pid
        input = Mutex(child.input)
        Self.read(child.output, isError: false, into: lines, onLine)
        Self.read(child.error, isError: true, into: lines, onLine)
    }

    /// A running process, with our ends of its three streams.
    private struct Started {
        let pid: Int32
        let input: FileHandle
        let output: FileHandle
        let error: FileHandle

        init(
            _ path: String,
            _ arguments: [String],
            _ environment: [String: String],
            _ ends: EventLog<Int32>
        ) throws {
            var numbers: [Int32] = []
            for _ in 0..<3 {
                var pair: [Int32] = [-1, -1]
                guard pipe(&pair) == 0 else { throw SystemCallError.last("pipe") }
                for number in pair { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
                numbers += pair
            }
            defer { for number in [numbers[0], numbers[3], numbers[5]] { close(number) } }
            let merged = ProcessInfo.processInfo.environment.merging(environment) { $1 }
            let child = try ChildProcess(
                path: "/bin/sh",
                arguments: ["-c", "exec \"$0\" \"$@\" <&3 >&4 2>&5 3<&- 4>&- 5>&-", path] + arguments,
                environment: merged.map { "\($0.key)=\($0.value)" },
                descriptors: [numbers[0], numbers[3], numbers[5]]
            )
            pid = child.pid
            input = FileHandle(fileDescriptor: numbers[1], closeOnDealloc: true)
            output = FileHandle(fileDescriptor: numbers[2], closeOnDealloc: true)
            error = FileHandle(fileDescriptor: numbers[4], closeOnDealloc: true)
            let box = Box(child)
            Thread.detachNewThread {
                var watched = pollfd(fd: box.child.handle, events: Int16(POLLIN), revents: 0)
                while poll(&watched, 1, -1) < 0 {}
                let code: Int32
                switch box.child.reap() {
                case .exited(let status): code = status
                case .killed(let signal): code = -signal
                case .unknown, nil: code = -999
                }
                Task { await ends.append(code) }
            }
        }
    }

    private final class Box: Sendable {
        let child: ChildProcess

        init(_ child: ChildProcess) { self.child = child }
    }

    /// Reads lines on its own thread, because pipes block.
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
        input.withLock { $0?.write(Data((line + "\n").utf8)) }
    }

    public func closeInput() { input.withLock { $0 = nil } }

    public func signal(_ number: Int32) { kill(pid, number) }

    /// Waits for the end of the process, and returns its exit code (negative: the signal).
    public func waitForEnd(seconds: Double = 20) async throws -> Int32 {
        try await ends.wait("end of the process", seconds: seconds) { !$0.isEmpty }
        return await ends.events.first ?? 0
    }

    /// Runs a program to its end; kills it, and throws with what it printed, if it has not ended after `seconds`.
    public static func run(
        _ path: String,
        _ arguments: [String],
        input: String? = nil,
        seconds: Double = 240
    ) async throws -> (
        code: Int32, output: String, error: String
    ) {
        let ends = EventLog<Int32>()
        let child = try Started(path, arguments, [:], ends)
        if let input { child.input.write(Data(input.utf8)) }
        try child.input.close()
        let (output, error) = (Printed(child.output), Printed(child.error))
        do {
            try await ends.wait("end of \(path) \(arguments)", seconds: seconds) { !$0.isEmpty }
            // Whatever it started and left behind may hold the pipes.
            for stream in [output, error] { try await stream.isOver.wait("end of its output") { !$0.isEmpty } }
        } catch let late {
            kill(child.pid, SIGKILL)
            throw Unended(description: "\(late); it printed: \(output.text.suffix(4000))\(error.text.suffix(4000))")
        }
        return (await ends.events.first ?? 0, output.text, error.text)
    }

    /// The error that a program did not end in time.
    public struct Unended: Error, CustomStringConvertible {
        public let description: String
    }

    /// What a stream has brought so far, read on a thread of its own, because pipes block.
    private final class Printed: Sendable {
        let isOver = EventLog<Void>()
        private let data = Mutex(Data())

        init(_ handle: FileHandle) {
            Thread.detachNewThread { [self] in
                while case let piece = handle.availableData, !piece.isEmpty { data.withLock { $0.append(piece) } }
                try? handle.close()
                Task { await isOver.append(()) }
            }
        }

        var text: String { data.withLock { String(decoding: $0, as: UTF8.self) } }
    }
}
