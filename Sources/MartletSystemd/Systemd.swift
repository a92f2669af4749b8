// SPDX-License-Identifier: Apache-2.0

internal import CSystemd
internal import Glibc
package import MartletLinux

/// The connection to the service manager (sd-daemon(3)).
///
/// If there is none, every call is harmless.
package enum Systemd {
    /// A socket that the service manager opened for us.
    package struct InheritedDescriptor: Sendable {
        package let number: Int32
        /// `FileDescriptorName=` of the socket unit.
        package let name: String
    }

    /// Returns the descriptors that were passed to this process (sd_listen_fds_with_names(3)), on the first call only.
    package static func inheritedDescriptors() throws(SystemCallError) -> [InheritedDescriptor] {
        // The library treats variables that are set to nothing, as container managers do it, as an error.
        guard CurrentProcess.environment("LISTEN_PID") != nil, CurrentProcess.environment("LISTEN_FDS") != nil else {
            return []
        }
        var names: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        let count = unsafe sd_listen_fds_with_names(1, &names)
        guard count >= 0 else { throw SystemCallError("sd_listen_fds_with_names", -count) }
        defer {
            if let names = unsafe names {
                var index = 0
                while let name = unsafe names[index] {
                    unsafe free(name)
                    index += 1
                }
                unsafe free(names)
            }
        }
        return (0..<Int(count)).map { index in
            let name = unsafe names.flatMap { unsafe $0[index] }.map { unsafe String(cString: $0) } ?? ""
            return InheritedDescriptor(number: 3 + Int32(index), name: name)
        }
    }

    /// The names of the descriptors that were passed to this process.
    package static var inheritedNames: [String] {
        CurrentProcess.environment("LISTEN_FDNAMES").map { $0.split(separator: ":").map(String.init) } ?? []
    }

    /// Tells the service manager the new state, as `READY=1` or `STATUS=...` lines.
    package static func notify(_ state: String) {
        _ = unsafe sd_notify(0, state)
    }

    /// Makes the service manager keep a descriptor for the next process of the service.
    ///
    /// It comes back among ``inheritedDescriptors()`` by its name, which must be unique (sd_pid_notify_with_fds(3),
    /// `FDSTORE=1`). It stays in the store until it is removed, whatever happens to its other end.
    package static func store(_ descriptor: Int32, as name: String) {
        var descriptor = descriptor
        _ = unsafe sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDPOLL=0\nFDNAME=\(name)", &descriptor, 1)
    }

    /// Makes the service manager release the descriptor that it keeps under that name.
    package static func removeFromStore(_ name: String) { notify("FDSTOREREMOVE=1\nFDNAME=\(name)") }

    /// Waits until the service manager has handled everything that it was told so far (sd_notify_barrier(3)).
    package static func waitUntilHeard(seconds: Int) { _ = sd_notify_barrier(0, UInt64(seconds) * 1_000_000) }

    /// Whether there is a service manager that gets what ``notify(_:)`` sends.
    package static var isListening: Bool { CurrentProcess.environment("NOTIFY_SOCKET") != nil }

    /// How often the service manager expects `WATCHDOG=1`, in nanoseconds (sd_watchdog_enabled(3)); nil: not at all.
    package static var watchdogInterval: UInt64? {
        var microseconds: UInt64 = 0
        guard unsafe sd_watchdog_enabled(0, &microseconds) > 0 else { return nil }
        return microseconds * 1000
    }

    /// True if standard error is connected to the journal (systemd.exec(5), JOURNAL_STREAM).
    package static var isErrorTheJournal: Bool {
        guard let stream = CurrentProcess.environment("JOURNAL_STREAM") else { return false }
        var status = stat()
        guard unsafe fstat(2, &status) == 0 else { return false }
        return stream == "\(status.st_dev):\(status.st_ino)"
    }

    /// Opens a stream of lines to the journal, for the standard error of a child; negative if there is no journal.
    ///
    /// The lines are errors, under the given identifier (sd_journal_stream_fd(3)).
    package static func journalStream(as identifier: String) -> Int32 {
        unsafe sd_journal_stream_fd(identifier, LOG_ERR, 0)
    }

    /// Writes one entry with its fields to the journal (sd_journal_sendv(3)); false if that failed.
    ///
    /// Names are upper case; anything but A to Z, digits and `_` becomes `_`.
    package static func writeToJournal(_ fields: [(name: String, value: String)]) -> Bool {
        var bytes: [UInt8] = []
        var ends: [Int] = []
        for field in fields {
            bytes += field.name.utf8.map { isNameByte($0) ? $0 : UInt8(ascii: "_") }
            bytes.append(UInt8(ascii: "="))
            bytes += field.value.utf8
            ends.append(bytes.count)
        }
        return unsafe bytes.withUnsafeMutableBytes { buffer in
            guard let base = buffer.baseAddress else { return false }
            var vectors: [iovec] = unsafe []
            for (index, end) in ends.enumerated() {
                let start = index == 0 ? 0 : ends[index - 1]
                unsafe vectors.append(iovec(iov_base: base + start, iov_len: end - start))
            }
            return unsafe sd_journal_sendv(vectors, Int32(vectors.count)) == 0
        }
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"): true
        default: false
        }
    }
}
