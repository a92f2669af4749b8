"""Tries what a service under attack would try, and prints what became of each as JSON."""
import ctypes, json, os, socket, subprocess, sys


def attempt(action):
    try:
        action()
        return "done"
    except BaseException as error:  # whatever it is, it did not work
        return f"{type(error).__name__}: {error}"[:200]


def write(path):
    with open(path, "w") as file:
        file.write("x")


def executable_memory():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    if libc.mmap(None, 4096, 7, 0x22, -1, 0) in (None, 2**64 - 1):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def system_call(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


tries = {
    "write /etc": lambda: write("/etc/martlet-probe"),
    "write /var": lambda: write("/var/martlet-probe"),
    "write /usr": lambda: write("/usr/martlet-probe"),
    "write /run": lambda: write("/run/martlet-probe"),
    "INET socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close(),
    "INET6 socket": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close(),
    "netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close(),
    "exec": lambda: subprocess.run(["/bin/true"], check=True),
    "read /home": lambda: os.listdir(sys.argv[1] if len(sys.argv) > 1 else "/home/probe"),
    "writable and executable memory": executable_memory,
    "user namespace": lambda: system_call(272, 0x10000000),
    "ptrace": lambda: system_call(101, 0, 0, 0, 0),
    "mount": lambda: system_call(165, b"none", b"/mnt", b"tmpfs", 0, None),
    "pin to a CPU": lambda: os.sched_setaffinity(0, {0}),
}
print(json.dumps({name: attempt(action) for name, action in tries.items()}), flush=True)
