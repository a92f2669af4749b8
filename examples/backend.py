"""An example backend: it logs users in, lets their browsers connect to Martlet, and pushes the steps of a job to them.

    martletd --dev            # and in another terminal:
    python3 examples/backend.py
    open http://127.0.0.1:9000/?user=alice

It needs only Python's standard library. With a server that is not in development mode, set MARTLET_API_KEY (a line of
auth.api_keys_file) and MARTLET_SECRET (the contents of auth.hmac_secret_file), and allow the page to connect:
client.allowed_origins: ["http://127.0.0.1:9000"].
"""
import base64, hashlib, hmac, http.client, http.server, json, os, threading, time, urllib.parse, uuid

API = os.environ.get("MARTLET_API", "127.0.0.1:8001")
KEY = os.environ.get("MARTLET_API_KEY")
SECRET = os.environ.get("MARTLET_SECRET", "").strip()


def token(user, thread, seconds=600):
    """A JWT (HS256) that lets this user connect, and puts them in this thread; any JWT library can make one."""
    part = lambda value: base64.urlsafe_b64encode(value).rstrip(b"=")
    claims = {"sub": user, "threads": [thread], "exp": int(time.time()) + seconds}
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest())).decode()


def publish(path, event, data):
    """Sends an event; returns how many connections accepted it. Safe to repeat: with the key, it is delivered only once."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
    if KEY: headers["Authorization"] = "Bearer " + KEY
    for attempt in range(5):
        try:
            connection = http.client.HTTPConnection(API, timeout=10)
            connection.request("POST", path, json.dumps({"type": event, "data": data}), headers)
            answer = connection.getresponse()
            body = json.loads(answer.read())
            if answer.status == 200: return body["delivered"]
            if answer.status not in (429, 503): raise RuntimeError(f"{body['code']}: {body['detail']}")
            time.sleep(float(answer.getheader("Retry-After", 1)))
        except OSError:
            time.sleep(0.2 * 2 ** attempt)
    raise RuntimeError("Martlet did not answer")


def work(thread):
    path = f"/v1/threads/{urllib.parse.quote(thread, safe='')}/events"
    for event in ("agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed"):
        print(event, "->", publish(path, event, {"thread": thread}), "connections")
        time.sleep(1)


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        user = dict(urllib.parse.parse_qsl(url.query)).get("user", "alice")
        thread = "thread-of-" + user
        if url.path == "/session":  # a real site checks its own login here
            body = json.dumps({"token": token(user, thread) if SECRET else None, "thread": thread}).encode()
        elif url.path == "/work":
            threading.Thread(target=work, args=(thread,)).start()
            body = b"{}"
        else:
            body = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "browser.html"), "rb").read()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8" if url.path == "/" else "application/json")
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__": http.server.ThreadingHTTPServer(("127.0.0.1", 9000), Site).serve_forever()
