"""Strangers who ask for upgrades without a good token, as fast as they can, over few connections.

strangers.py HOST:PORT SECONDS [TOKEN] [X-FORWARDED-FOR]
Prints {"asked", "closed", "statuses": {status: count}}.
"""
import collections, json, socket, sys, threading, time

host, port = sys.argv[1].split(":")
end = time.monotonic() + float(sys.argv[2])
token, address = (sys.argv[3:] + ["", ""])[:2]
head = ("GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
if token:
    head += f"Authorization: Bearer {token}\r\n"
if address:
    head += f"X-Forwarded-For: {address}\r\n"
many = (head + "\r\n").encode() * 50
asked = closed = 0
statuses = collections.Counter()


def ask():
    global asked, closed
    while time.monotonic() < end:
        with socket.create_connection((host, int(port)), 10) as s:
            try:
                while time.monotonic() < end:
                    s.sendall(many)
                    asked += 50
                    answer = s.recv(1 << 16)
                    for part in answer.split(b"HTTP/1.1 ")[1:]:
                        statuses[part[:3].decode()] += 1
                    if not answer:
                        break
            except OSError:
                pass
            closed += 1


threads = [threading.Thread(target=ask) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps({"asked": asked, "closed": closed, "statuses": statuses}))
