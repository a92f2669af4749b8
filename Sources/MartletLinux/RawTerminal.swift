// SPDX-License-Identifier: Apache-2.0

internal import Glibc

/// A terminal in raw mode, on its second screen, which reports each key at once without showing it.
///
/// The terminal is as it was before when the lifetime of this value ends.
package struct RawTerminal: ~Copyable {
    private let before: termios

    private init(before: termios) {
        self.before = before
    }

    /// Takes over the terminal; nil if standard input or output is not one.
    package static func open() -> RawTerminal? {
        guard isatty(0) == 1, isatty(1) == 1 else { return nil }
        var state = termios()
        guard unsafe tcgetattr(0, &state) == 0 else { return nil }
        let before = state
        // Without ISIG an interrupt is a key too, so that the terminal is always restored.
        state.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG)
        guard unsafe tcsetattr(0, TCSANOW, &state) == 0 else { return nil }
        write("\u{1B}[?1049h\u{1B}[?25l")
        return RawTerminal(before: before)
    }

    /// Draws a whole screen; lines and columns that do not fit are cut off.
    package func draw(_ lines: [String]) {
        let size = Terminal.size ?? (80, 24)
        let shown = lines.prefix(max(1, size.rows)).map { String($0.prefix(size.columns)) + "\u{1B}[K" }
        Self.write("\u{1B}[H" + shown.joined(separator: "\n") + "\u{1B}[J")
    }

    /// Waits for the next key, for so many milliseconds; nil: there was none, or the size of the terminal has changed.
    package func key(milliseconds: Int32) -> UInt8? {
        var watched = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
        guard unsafe poll(&watched, 1, milliseconds) == 1 else { return nil }
        var byte: UInt8 = 0
        // The end of input counts as an interrupt.
        return unsafe read(0, &byte, 1) == 1 ? byte : 3
    }

    private static func write(_ text: String) {
        var text = text
        text.withUTF8 { bytes in _ = unsafe Glibc.write(1, bytes.baseAddress, bytes.count) }
    }

    deinit {
        var state = before
        _ = unsafe tcsetattr(0, TCSANOW, &state)
        Self.write("\u{1B}[?25h\u{1B}[?1049l")
    }
}
