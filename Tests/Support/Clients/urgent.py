"""A client that sends bytes as urgent data (MSG_OOB) beside its frames, told by lines on standard input.

urgent.py HOST:PORT PATH
  urgent COUNT   a text frame {"type":"ping"} for each, whose last byte is urgent
  ping           the same without urgent data
Each line is answered by a JSON line: what came since, as texts, and how the connection ended, if it did.
"""
import base64, json, os, select, socket, struct, sys, time

host, port = sys.argv[1].split(":")
s = socket.socket()
s.connect((host, int(port)))
s.settimeout(20)
key = base64.b64encode(os.urandom(16)).decode()
s.sendall((f"GET {sys.argv[2]} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
data = b""
while b"\r\n\r\n" not in data:
    data += s.recv(4096)
data = data.split(b"\r\n\r\n", 1)[1]


def frames():
    """Whole frames that have come."""
    global data
    while len(data) >= 2:
        length, start = data[1] & 127, 2
        if length == 126:
            length, start = int.from_bytes(data[2:4], "big"), 4
        if len(data) < start + length:
            return
        payload, opcode, data = data[start:start + length], data[0] & 15, data[start + length:]
        yield opcode, payload


def collect(pongs):
    """What comes until so many pongs have come."""
    global data
    texts, deadline = [], time.monotonic() + 20
    while time.monotonic() < deadline:
        for opcode, payload in frames():
            if opcode == 8:
                return texts, struct.unpack("!H", payload[:2])[0]
            if opcode == 1:
                texts.append(payload.decode())
        if sum('"pong"' in text for text in texts) >= pongs:
            return texts, None
        try:
            piece = s.recv(65536)
        except ConnectionResetError:
            return texts, "reset"
        if not piece:
            return texts, "eof"
        data += piece
    return texts, "timeout"


for line in sys.stdin:
    word, *rest = line.split()
    count = int(rest[0]) if rest else 1
    frame = b"\x81\x8f\0\0\0\0" + b'{"type":"ping"}'
    try:
        for _ in range(count):
            s.sendall(frame[:-1])
            s.send(frame[-1:], socket.MSG_OOB if word == "urgent" else 0)
        texts, end = collect(count)
    except OSError as error:
        texts, end = [], str(error)
    print(json.dumps({"texts": texts, "end": end}), flush=True)
