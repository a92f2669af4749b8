"""Shuts a listening socket of another process down, as somebody who holds it could (pidfd_getfd(2)).

shut_listener.py PID PORT|PATH
"""
import ctypes, os, re, socket, sys

pid, where = int(sys.argv[1]), sys.argv[2]
if where.isdigit():
    rows = [line.split() for line in open("/proc/net/tcp").readlines()[1:]]
    (inode,) = [row[9] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == int(where)]
else:
    (inode,) = [row.split()[6] for row in open("/proc/net/unix") if row.rstrip().endswith(" " + where)][:1]
(fd,) = [int(name) for name in os.listdir(f"/proc/{pid}/fd") if os.readlink(f"/proc/{pid}/fd/{name}") == f"socket:[{inode}]"][:1]
libc = ctypes.CDLL(None, use_errno=True)
copy = libc.syscall(438, os.pidfd_open(pid), fd, 0)
assert copy >= 0, os.strerror(ctypes.get_errno())
socket.socket(fileno=copy).shutdown(socket.SHUT_RDWR)
print("shut down")
