"""WebSocket clients that end their TCP connections in every way there is, told by lines on standard input.

open NAME HOST:PORT PATH   a connection; small receive buffer, nothing is read until `end`
text NAME TEXT             a text frame
close NAME CODE            a close frame
half NAME                  no more will be sent (FIN)
reset NAME                 RST
end NAME                   read to the end, answer a close frame, say what came: {"name","texts","bytes","code","end"}
Each line is answered by a JSON line.
"""
import base64, json, os, socket, struct, sys

sockets = {}


def frame(opcode, payload):
    mask = os.urandom(4)
    assert len(payload) < 126
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


def connect(name, address, path):
    host, port = address.split(":")
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(20)
    s.connect((host, int(port)))
    key = base64.b64encode(os.urandom(16)).decode()
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += s.recv(1)
    assert b" 101 " in head, head
    sockets[name] = s


def end(name):
    s = sockets.pop(name)
    data, texts, size, code, how = b"", 0, 0, None, "eof"
    try:
        while piece := s.recv(1 << 16):
            data += piece
            while len(data) >= 2:
                length, start = data[1] & 127, 2
                if length == 126:
                    length, start = int.from_bytes(data[2:4], "big"), 4
                elif length == 127:
                    length, start = int.from_bytes(data[2:10], "big"), 10
                if len(data) < start + length:
                    break
                payload, opcode, data = data[start:start + length], data[0] & 15, data[start + length:]
                if opcode == 1:
                    texts, size = texts + 1, size + length
                if opcode == 8:
                    code = struct.unpack("!H", payload[:2])[0]
                    try:
                        s.sendall(frame(8, payload[:2]))
                    except OSError:
                        pass
    except ConnectionResetError:
        how = "reset"
    except TimeoutError:
        how = "timeout"
    return {"name": name, "texts": texts, "bytes": size, "code": code, "end": how, "rest": len(data)}


for line in sys.stdin:
    word, name, *rest = line.rstrip("\n").split(maxsplit=2)
    answer = {"name": name}
    if word == "open":
        connect(name, *rest[0].split())
    elif word == "text":
        sockets[name].sendall(frame(1, rest[0].strip().encode()))
    elif word == "close":
        sockets[name].sendall(frame(8, struct.pack("!H", int(rest[0]))))
    elif word == "half":
        sockets[name].shutdown(socket.SHUT_WR)
    elif word == "reset":
        sockets[name].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sockets.pop(name).close()
    elif word == "end":
        answer = end(name)
    print(json.dumps(answer), flush=True)
