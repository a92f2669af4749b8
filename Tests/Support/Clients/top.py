"""Runs martletctl top in a terminal of its own: prints a screen, resizes, presses q, prints how it ended."""
import fcntl, os, pty, select, struct, sys, termios, time

pid, fd = pty.fork()
if pid == 0: os.execv(sys.argv[1], sys.argv[1:])


def screen(until, columns, rows):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    data, deadline = b"", time.monotonic() + 15
    while time.monotonic() < deadline:
        if select.select([fd], [], [], 0.2)[0]: data += os.read(fd, 65536)
        last = data.rsplit(b"\x1b[H", 1)[-1]
        if until in last and b"\x1b[J" in last: return last.replace(b"\x1b[K", b"").replace(b"\x1b[J", b"").decode()
    raise SystemExit(f"no {until!r} in {data[-2000:]!r}")


print(screen(b"q quits", 120, 30))
print("--- 80x24\n" + screen(b"q quits", 80, 24) + "\n--- small")
for _ in range(5):
    small = screen(b"Martlet", 20, 3).splitlines()
    if max(map(len, small)) <= 20 and len(small) <= 3: print("fits")
os.write(fd, b"q")
print("exit", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
