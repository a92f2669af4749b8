"""A session whose connection ends and is reset while its worker cannot see it: the next worker must let the session wait.

Usage: session_reset.py CLIENT API
"""
import base64, http.client, json, os, signal, socket, struct, sys, time

CLIENT, API = ((host, int(port)) for host, port in (text.split(":") for text in sys.argv[1:]))


def get(path):
    connection = http.client.HTTPConnection(*API, timeout=20)
    connection.request("GET", path)
    return json.loads(connection.getresponse().read())


def connect(offer):
    s = socket.create_connection(CLIENT, timeout=20)
    key = base64.b64encode(os.urandom(16)).decode()
    s.sendall(f"GET /ws?user=u HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
              f"Sec-WebSocket-Key: {key}\r\nMartlet-Resume: {offer}\r\n\r\n".encode())
    received = b""
    while b"}" not in received:
        piece = s.recv(4096)
        assert piece, f"closed after {received}"
        received += piece
    return s, json.loads(received[received.index(b"{"):received.rindex(b"}") + 1])


for ends in [("reset",), ("end", "reset")] * 2:
    client, greeting = connect("new")
    shard = get("/v1/connections/" + greeting["connection_id"])["shard"]
    pid = get(f"/v1/stats/shards/{shard}")["pid"]
    os.kill(pid, signal.SIGSTOP)
    if "end" in ends:
        client.shutdown(socket.SHUT_WR)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while not (now := get(f"/v1/stats/shards/{shard}"))["state"] == "serving" or now["pid"] == pid:
        assert time.monotonic() < deadline, now
    again, answer = connect(f"{greeting['session']} 0")
    assert answer["resumed"] is True, f"{ends}: {answer}"
    again.close()
