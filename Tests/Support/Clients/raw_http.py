"""Requests byte for byte, and what is answered.

raw_http.py HOST:PORT, with a JSON list of texts on standard input: each is sent over a connection of its own, and a JSON list of
what came comes out: {"status", "headers" (names in lower case), "body", "seconds", "isClosed", "more": what came behind it}.
Only what lies before "||" in a text is sent at once; what follows, once something has come.
"""
import json, re, socket, sys, time

host, port = sys.argv[1].rsplit(":", 1)
answers = []
for text in json.load(sys.stdin):
    first, _, second = text.partition("||")
    start = time.monotonic()
    with socket.create_connection((host, int(port)), 30) as s:
        s.sendall(first.encode("latin-1"))
        data = b""
        while b"\r\n\r\n" not in data:
            piece = s.recv(65536)
            if not piece:
                break
            data += piece
        if second:
            s.sendall(second.encode("latin-1"))
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in lines[1:] if ":" in line}
        length = int(headers.get("content-length", 0))
        seconds = time.monotonic() - start
        # What must come is waited for; that nothing more does can only be looked at for a moment.
        s.settimeout(20 if second or headers.get("connection") == "close" else 0.3)
        closed = False
        try:
            while True:
                piece = s.recv(65536)
                if not piece:
                    closed = True
                    break
                rest += piece
                if second and rest.endswith(b"}") and headers.get("connection") != "close":
                    s.settimeout(0.3)
        except OSError:
            pass
    answers.append({"status": int(lines[0].split(" ")[1]) if lines[0] else 0, "headers": headers,
                    "body": rest[:length].decode(), "more": rest[length:].decode("latin-1"),
                    "seconds": seconds, "isClosed": closed})
print(json.dumps(answers))
