"""Clients that want all of a worker's time, and how long somebody else waits meanwhile.

hunger.py HOST:PORT bombs     64 connections of one user send frames of 1 KB that expand to 1 MiB, 130 each
hunger.py HOST:PORT requests  32 connections send small requests without an end, for 3 seconds
hunger.py HOST:PORT pongs     8 connections send pongs that nobody has asked for, without an end
hunger.py HOST:PORT fragments 8 connections send empty fragments of a message, without an end
hunger.py HOST:PORT joins     16 connections are in 250 rooms with long names, and leave and join one more
hunger.py HOST:PORT partial   64 connections send all but the end of a large message, and stay
Prints {"codes": {close code: count}, "answers": of the hungry, "pongs": of the victim, "longest_ms"}.
"""
import base64, collections, json, os, select, socket, struct, subprocess, sys, threading, time, zlib

host, port = sys.argv[1].split(":")
mode = sys.argv[2]
codes = collections.Counter()
answers = 0
done = threading.Event()


def connect(user):
    s = socket.create_connection((host, int(port)), 30)
    key = base64.b64encode(os.urandom(16)).decode()
    s.sendall((f"GET /ws?user={user} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
               "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n").encode())
    stream = s.makefile("rb")
    assert b" 101 " in stream.readline()
    while stream.readline() != b"\r\n":
        pass
    return s, stream


def frames(stream):
    while len(head := stream.read(2)) == 2:
        length = head[1] & 127
        if length > 125:
            length = struct.unpack(">H" if length == 126 else ">Q", stream.read(2 if length == 126 else 8))[0]
        yield head[0] & 15, stream.read(length)


def bomb():
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = packer.compress(b'"' + b"x" * (1048576 - 2) + b'"') + packer.flush(zlib.Z_SYNC_FLUSH)
    data = data[:-4]
    return b"\xc1\xfe" + struct.pack(">H", len(data)) + b"\0\0\0\0" + data


def hungry_socket(s, stream):
    """Reads until the end of the connection."""
    try:
        global answers
        for opcode, payload in frames(stream):
            answers += opcode == 1
            if opcode == 8:
                codes[struct.unpack(">H", payload[:2])[0]] += 1
                return
    except OSError:
        codes["reset"] += 1


def send(s, data):
    try:
        s.sendall(data)
    except OSError:
        pass


def text(message):
    data = json.dumps(message).encode()
    return b"\x81\xfe" + struct.pack(">H", len(data)) + b"\0\0\0\0" + data


def flood(s):
    """Sends without an end, as far as the server lets it."""
    if mode == "joins":
        for number in range(250):
            send(s, text({"type": "join_thread", "thread_id": f"{number:03}" + "x" * 250}))
        room = "y" * 250
        many = (text({"type": "join_thread", "thread_id": room}) + text({"type": "leave_thread", "thread_id": room})) * 20
    elif mode == "pongs":
        many = b"\x8a\x80\0\0\0\0" * 2000
    else:
        many = b"\x00\x80\0\0\0\0" * 2000
        send(s, b"\x01\x80\0\0\0\0")
    try:
        while not done.is_set():
            s.sendall(many)
    except OSError:
        pass


def hungry_requests():
    global answers
    with socket.create_connection((host, int(port)), 10) as s:
        s.setblocking(False)
        data, sent = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 400, 0
        while not done.is_set():
            readable, writable, _ = select.select([s], [s], [], 0.1)
            try:
                if writable:
                    sent = (sent + s.send(data[sent:])) % len(data)
                if readable:
                    answers += s.recv(1 << 16).count(b"HTTP/1.1 200")
            except BlockingIOError:
                pass
            except OSError:
                return


def starve():
    """The hungry, in a process of their own: what they cost themselves is not the victim's."""
    threads = []
    if mode == "bombs":
        payload = bomb() * 130
        hungry = [connect("hungry") for _ in range(64)]
        threads = [threading.Thread(target=hungry_socket, args=pair) for pair in hungry]
        threads += [threading.Thread(target=send, args=(s, payload)) for s, _ in hungry]
    elif mode in ("pongs", "fragments", "joins"):
        hungry = [connect("hungry") for _ in range(16 if mode == "joins" else 8)]
        threads = [threading.Thread(target=hungry_socket, args=pair) for pair in hungry]
        threads += [threading.Thread(target=flood, args=(s,)) for s, _ in hungry]
    elif mode == "partial":
        hungry = [connect("hungry") for _ in range(64)]
        threads = [threading.Thread(target=hungry_socket, args=pair) for pair in hungry]
        head = b"\x81\xff" + struct.pack(">Q", 1000000) + b"\0\0\0\0"
        threads += [threading.Thread(target=send, args=(s, head + b"x" * 900000)) for s, _ in hungry]
    else:
        threads = [threading.Thread(target=hungry_requests) for _ in range(32)]
    print("begin", flush=True)
    for thread in threads:
        thread.start()
    sys.stdin.readline()
    done.set()
    print(json.dumps({"codes": {str(code): count for code, count in codes.items()}, "answers": answers}), flush=True)
    # Threads may still wait for the server; it sees their sockets end.
    os._exit(0)


if len(sys.argv) > 3:
    starve()
    sys.exit()
victim, stream = connect("victim")
events = frames(stream)
next(events)
child = subprocess.Popen([sys.executable, *sys.argv, "starve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
child.stdout.readline()
longest, pongs, end = 0, 0, time.monotonic() + 3
while time.monotonic() < end:
    began = time.monotonic()
    victim.sendall(b"\x81\x8f\0\0\0\0" + b'{"type":"ping"}')
    opcode, text = next(events)
    while opcode != 1:
        opcode, text = next(events)
    pongs += b'"pong"' in text
    longest = max(longest, time.monotonic() - began)
    time.sleep(0.05)
report, _ = child.communicate("\n", 60)
print(json.dumps(json.loads(report) | {"pongs": pongs, "longest_ms": round(1000 * longest, 1)}))
