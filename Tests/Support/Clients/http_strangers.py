"""People who speak HTTP and mean no good, or have vanished.

http_strangers.py MODE HOST:PORT ...; prints one JSON object.

bodies COUNT BYTES [KEY]   COUNT connections that announce a body and send as much of it as they can, then wait for an answer
idle COUNT                 COUNT connections that ask /healthz once and stay; then one more that asks
silent COUNT SECONDS       COUNT connections that say nothing; how many were closed within SECONDS
unread LINES KEY           a batch that is sent whole before its answer is read (http.client)
"""
import collections, http.client, json, select, socket, sys, time

mode, address = sys.argv[1:3]
host, port = address.rsplit(":", 1)
more = sys.argv[3:]


def connect():
    return socket.create_connection((host, int(port)), 20)


def status(data):
    return data[9:12].decode() if data.startswith(b"HTTP/1.1 ") else "none"


def bodies():
    count, size = int(more[0]), int(more[1])
    key = f"Authorization: Bearer {more[2]}\r\n" if len(more) > 2 else ""
    head = f"POST /v1/broadcast HTTP/1.1\r\nHost: localhost\r\n{key}Content-Length: {size}\r\n\r\n".encode()
    rest = {}
    for _ in range(count):
        s = connect()
        s.sendall(head)
        s.setblocking(False)
        rest[s] = size - 1  # never the last byte
    statuses, sent, answers = collections.Counter(), 0, {}
    chunk, end = b"1" * 65536, time.monotonic() + 10
    while rest and time.monotonic() < end and len(answers) < count:
        waiting = [s for s in rest if s not in answers]
        readable, writable, _ = select.select(waiting, [s for s in waiting if rest[s]], [], 1)
        for s in readable:
            try:
                data = s.recv(4096)
            except OSError:
                data = b""
            answers[s] = status(data)
        for s in writable:
            try:
                moved = s.send(chunk[:rest[s]])
                rest[s] -= moved
                sent += moved
            except OSError:
                pass
        if not readable and all(rest[s] == 0 for s in waiting):
            break
    statuses.update(answers.values())
    print(json.dumps({"statuses": statuses, "sent": sent, "unanswered": count - len(answers)}), flush=True)
    sys.stdin.readline()


def ask(s):
    s.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return status(s.recv(4096))


def idle():
    sockets, statuses = [], collections.Counter()
    for _ in range(int(more[0])):
        sockets.append(connect())
        statuses[ask(sockets[-1])] += 1
    last = connect()
    print(json.dumps({"statuses": statuses, "last": ask(last)}), flush=True)
    sys.stdin.readline()
    closed = 0
    for s in sockets:
        readable, _, _ = select.select([s], [], [], 0)
        closed += bool(readable)
    print(json.dumps({"closed": closed}), flush=True)


def silent():
    sockets = {connect() for _ in range(int(more[0]))}
    if len(more) > 2:
        for s in sockets:
            ask(s)
    open_now, end, closed = set(sockets), time.monotonic() + float(more[1]), 0
    while open_now and time.monotonic() < end:
        readable, _, _ = select.select(list(open_now), [], [], 1)
        for s in readable:
            try:
                data = s.recv(4096)
            except OSError:
                data = b""
            if not data:
                open_now.discard(s)
                closed += 1
    print(json.dumps({"closed": closed}))


def unread():
    line = b'{"user":"nobody","message":1}\n'
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    start = time.monotonic()
    try:
        connection.request("POST", "/v1/batch", line * int(more[0]), {
            "Content-Type": "application/x-ndjson", "Authorization": "Bearer " + more[1]})
        answer = connection.getresponse().read()
        outcome = f"{answer.count(bytes([10]))} lines"
    except Exception as error:
        outcome = type(error).__name__
    print(json.dumps({"outcome": outcome, "seconds": time.monotonic() - start}))


{"bodies": bodies, "idle": idle, "silent": silent, "unread": unread}[mode]()
