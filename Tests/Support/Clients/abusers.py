"""Clients that no library would be, each a mode: prints what it sees of its end.

abusers.py HOST:PORT MODE USER
  silent   opens a WebSocket and answers no ping; prints the close code that it is sent
  flood    sends messages without end and reads; prints how many errors it was told, and the close code
  slow     opens a WebSocket and never reads
  giant    sends a message of 3 MiB; prints the close code
"""
import base64, os, socket, struct, sys, threading

host, port = sys.argv[1].split(":")
mode, user = sys.argv[2:4]
s = socket.socket()
if mode == "slow": s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
s.connect((host, int(port)))
key = base64.b64encode(os.urandom(16)).decode()
s.sendall((f"GET /ws?user={user} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
stream = s.makefile("rb")
while stream.readline() not in (b"\r\n", b""): pass


def frames():
    while head := stream.read(2):
        length = head[1] & 127
        if length > 125: length = struct.unpack(">H" if length == 126 else ">Q", stream.read(2 if length == 126 else 8))[0]
        yield head[0] & 15, stream.read(length)


def send(payload, opcode=1):
    n = len(payload)
    head = bytes([0x80 | opcode]) + (bytes([0x80 | n]) if n < 126 else b"\xfe" + struct.pack(">H", n) if n < 65536
                                     else b"\xff" + struct.pack(">Q", n))
    s.sendall(head + b"\0\0\0\0" + payload)


next(frames())
print("open", flush=True)
if mode == "slow":
    sys.stdin.read()
    sys.exit()
if mode == "giant":
    def shout():
        try: send(b'"' + b"x" * (3 << 20) + b'"')
        except OSError: pass
    threading.Thread(target=shout, daemon=True).start()
if mode == "flood":
    def shout():
        try:
            while True: send(b'{"type":"ping"}')
        except OSError: pass
    threading.Thread(target=shout, daemon=True).start()
errors = pongs = 0
try:
    for opcode, payload in frames():
        if opcode == 8:
            print("closed", struct.unpack(">H", payload[:2])[0], "errors", errors, "pongs", pongs, flush=True)
            break
        errors += b'"rate_limited"' in payload
        pongs += b'"pong"' in payload
except OSError as error:
    print("broken", error, flush=True)
