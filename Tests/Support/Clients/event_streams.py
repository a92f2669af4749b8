"""What a client of server-sent events meets, one scenario a run.

Usage: event_streams.py SCENARIO CLIENT API [ARGUMENT ...]
"""
import asyncio, json, random, socket, sys, time
import httpx
from websockets.asyncio.client import connect
from event_stream import Refused, Stream, client

SCENARIO, CLIENT, API, *MORE = sys.argv[1:]
PING = '{"type":"ping"}'
http = client()


def url(user, more="", path="/sse"):
    return f"http://{CLIENT}{path}?user={user}{more}"


async def publish(user, text):
    answer = await http.post(f"http://{API}/v1/users/{user}/messages", content=text)
    return answer.json()


async def connections(user):
    return (await http.get(f"http://{API}/v1/users/{user}/connections")).json()["connections"]


async def until(what, condition):
    async with asyncio.timeout(20):
        while not await condition(): await asyncio.sleep(0.02)


async def waiting(user):
    await until("the session waits", lambda: is_waiting(user))


async def is_waiting(user):
    list = await connections(user)
    return len(list) == 1 and list[0]["session"]["waiting_since"] is not None


async def messages():
    """Every text arrives, whatever it consists of, and rooms work as over a WebSocket."""
    plain = await Stream.open(http, url("u", "&thread_id=t"))
    session = await Stream.open(http, url("u"), "new")
    assert "session" not in plain.greeting and session.greeting["resume_window_ms"] == 120000, plain.greeting
    for name, value in {"content-type": "text/event-stream", "cache-control": "no-store, no-transform",
                        "x-accel-buffering": "no"}.items():
        assert plain.response.headers[name] == value, plain.response.headers
    texts = ['{"a":1}', '"data: x"', "[1,\n2,\n\n3]\n", '{"a":\r\n1}', "[1,\r2]", '"\u00fc\U0001f600"', '"' + "x" * 50000 + '"', "7"]
    for text in texts:
        receipt = await publish("u", text)
        assert receipt == {"matched": 2, "delivered": 2, "held": 0, "failed": 0}, receipt
    lines = [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]
    assert await plain.texts(len(texts)) == lines
    assert await session.texts(len(texts)) == lines
    await http.post(f"http://{API}/v1/threads/t/messages", content='"to the thread"')
    assert await plain.texts(1) == ['"to the thread"']
    assert (await http.delete(f"http://{API}/v1/users/u/connections")).json() == {"closed": 2}
    for stream in (plain, session):
        kind, data = await stream.next()
        assert kind == "close" and json.loads(data)["code"] == 1000, (kind, data)
        await asyncio.wait_for(stream.ended.wait(), 20)
    assert await connections("u") == []


async def posts():
    """What is posted is handled once and in order, and each answer says how far that is."""
    stream = await Stream.open(http, url("u"), "new")
    received = lambda answer: (answer.status_code, answer.json().get("received"))
    assert received(await stream.say([PING] * 3, 1)) == (200, 3)
    assert received(await stream.post([PING] * 3, 1)) == (200, 3), "repeated"
    assert received(await stream.say([PING] * 4, 2)) == (200, 5), "two of them are new"
    gap = await stream.post([PING], 7)
    assert gap.status_code == 409 and gap.json()["code"] == "messages_missing" and gap.json()["received"] == 5, gap.text
    join = '{"type":"join_thread","thread_id":"t"}'
    assert received(await stream.say(["", join + "\r", "", "nonsense"], 6)) == (200, 7), "empty lines are no messages"
    texts = [json.loads(text) for text in await stream.texts(7)]
    assert [text.get("received") for text in texts[:5]] == [1, 2, 3, 4, 5], texts
    assert texts[5] == {"type": "thread_joined", "thread_id": "t"} and texts[6]["code"] == "invalid_json", texts
    assert texts[6]["number"] == 7, texts
    # A post has at most 64 messages that are handled, and no more than fit into a slice; the answer says where to go on.
    ack = '{"type":"ack","received":0}'
    assert 8 <= (await stream.post([ack] * 70, 8)).json()["received"] <= 71
    assert received(await stream.say([ack] * 70, 8)) == (200, 77)
    assert received(await stream.post([ack], 0))[0] == 409, "the first message has the number 1"
    # Whoever has another token, or another user's, or none, changes nothing.
    for answer, status, code in [
        (await stream.post([PING], 78, stream.greeting["session"][:-1] + "!"), 400, "malformed"),
        (await stream.post([PING], 78, stream.greeting["session"][:15] + "A" * 22), 404, "unknown_session"),
        (await stream.post([PING], -1), 400, "malformed"),
        (await http.post(url("u"), content=PING), 400, "malformed"),
        (await http.post(url("v"), content=PING, headers={"Martlet-Session": stream.greeting["session"] + " 78"}), 404,
         "unknown_session"),
        (await http.put(url("u"), content=PING), 405, "method_not_allowed"),
        (await http.post(url("u"), content="x" * 1_100_000, headers={"Martlet-Session": stream.greeting["session"] + " 78"}), 413,
         "body_too_large"),
        (await http.request("GET", url("u"), content="x"), 400, "malformed"),
    ]:
        assert answer.status_code == status and answer.json()["code"] == code, answer.text
        assert answer.headers["access-control-allow-origin"] == "*", answer.headers
    chunks = await http.post(url("u"), content=pieces(), headers={"Martlet-Session": stream.greeting["session"] + " 78"})
    assert received(chunks)[1] in (78, 79), chunks.text
    assert received(await stream.say([PING] * 2, 78)) == (200, 79)
    assert (await stream.post([], 0, method="DELETE")).json() == {"closed": 1}
    assert (await stream.post([PING], 80)).status_code == 404
    while (event := await stream.next())[0] != "close": pass
    assert json.loads(event[1])["code"] == 1000, event


async def pieces():
    for piece in [PING[:5], PING[5:] + "\n", PING]: yield piece.encode()


async def forms():
    """A session goes on over a WebSocket, a stream, and a compressed WebSocket, in any order; counts go on, too."""
    random.seed()
    sent, handled, received, offer, stream, ws = 0, 0, 0, "new", None, None
    for round in range(40):
        kind = random.choice(["stream", "plain", "compressed"])
        words = offer if offer == "new" else f"{offer} {received}"
        if kind == "stream":
            stream = await Stream.open(http, url("u"), words)
            greeting, take = stream.greeting, lambda: stream.next()
        else:
            extra = {"compression": "deflate" if kind == "compressed" else None, "ping_interval": None, "max_queue": None}
            ws = await connect(f"ws://{CLIENT}/ws?user=u", subprotocols=["martlet", "resume." + words.replace(" ", ".")], **extra)
            take = lambda: ws.recv()
            greeting = json.loads(await asyncio.wait_for(ws.recv(), 20))
        if round: assert greeting["resumed"] is True and greeting["replay"] == sent - received, (round, kind, greeting)
        if round: assert greeting["received"] == handled, (round, kind, greeting, handled)
        offer = greeting["session"]
        texts = []
        for _ in range(random.randrange(4)):
            sent += 1
            text = json.dumps({"n": sent, "text": "long and the same, " * random.choice([0, 50])})
            assert (await publish("u", text))["delivered"] == 1
        for _ in range(random.randrange(sent - received + 1)):
            got = await asyncio.wait_for(take(), 20)
            text = got[1] if isinstance(got, tuple) else got
            received += 1
            assert json.loads(text)["n"] == received, (round, kind, text[:60])
        # Messages of the client that nobody answers.
        for _ in range(random.randrange(3)):
            handled += 1
            if kind == "stream":
                answer = await stream.post(['{"type":"ack","received":0}'], handled)
                assert answer.json() == {"received": handled}, answer.text
            else:
                await ws.send('{"type":"ack","received":0}')
        if kind != "stream":
            # They were handled once the kernel has passed them on: a pong says so, and is one more text.
            await ws.send(PING)
            handled += 1
            sent += 1
            while True:
                text = await asyncio.wait_for(ws.recv(), 20)
                received += 1
                if '"pong"' in text: break
                assert json.loads(text)["n"] == received, text[:60]
            ws.transport.abort()
        else: await stream.abort()
    print("ok")


async def heartbeats():
    """A comment comes with each beat, so that a client sees that there is somebody; whoever takes nothing is let go."""
    reader, writer = await asyncio.open_connection(*CLIENT.split(":"))
    writer.write(f"GET /sse?user=u HTTP/1.1\r\nHost: localhost\r\nMartlet-Resume: new\r\n\r\n".encode())
    count, program, control = int(MORE[0]), *MORE[1:]
    gaps, last = [], None
    async with asyncio.timeout(40):
        for beat in range(8):
            await reader.readuntil(b"\n:\n\n")
            now = time.monotonic()
            if last: gaps.append(now - last)
            last = now
            if beat == 3:
                restart = await asyncio.create_subprocess_exec(program, "restart", "--all", "--control-socket", control,
                                                               stdout=asyncio.subprocess.DEVNULL)
                assert await asyncio.wait_for(restart.wait(), 20) == 0
    # Each second one; the next worker begins anew, and a busy machine may be late.
    assert max(gaps) < 2.6, gaps
    list = await connections("u")
    assert len(list) == 1 and list[0]["session"]["waiting_since"] is None, list
    writer.close()
    await waiting("u")
    # One that reads nothing: heartbeats and messages stay in our kernel, as they do where a network has gone.
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    host, port = CLIENT.split(":")
    s.connect((host, int(port)))
    s.sendall(b"GET /sse?user=v HTTP/1.1\r\nHost: localhost\r\nMartlet-Resume: new\r\n\r\n")
    await until("it is here", lambda: has(1, "v"))
    text = json.dumps("x" * 60000)
    for _ in range(count): assert (await publish("v", text))["delivered"] == 1
    await waiting("v")
    s.close()


async def damaged():
    """A stream that cannot go on is told so, as a stream is told."""
    program, control = MORE
    stream = await Stream.open(http, url("u"), "new")
    restart = await asyncio.create_subprocess_exec(program, "restart", "--all", "--control-socket", control,
                                                   stdout=asyncio.subprocess.DEVNULL)
    await asyncio.wait_for(restart.wait(), 20)
    kind, data = await stream.next()
    assert kind == "close" and json.loads(data)["code"] == 1012, (kind, data)


async def has(count, user):
    return len(await connections(user)) == count


async def talkers():
    """Whoever goes on to send on a stream is told that this makes no sense."""
    reader, writer = await asyncio.open_connection(*CLIENT.split(":"))
    request = b"GET /sse?user=u HTTP/1.1\r\nHost: localhost\r\nMartlet-Resume: new\r\n\r\n"
    writer.write(request)
    async with asyncio.timeout(20):
        await reader.readuntil(b"connection_established")
        writer.write(request)
        data = await reader.read()
    assert b"event: close\ndata: {\"code\":4400" in data, data
    assert await connections("u") == []
    # Two requests at once: the second has no answer that could ever begin.
    reader, writer = await asyncio.open_connection(*CLIENT.split(":"))
    writer.write(request + request)
    async with asyncio.timeout(20):
        data = await reader.read()
    assert data.startswith(b"HTTP/1.1 400"), data


async def crash():
    """A worker ends while it handles the second of four posted messages: each is handled once, after all."""
    stream = await Stream.open(http, url("u"), "new")
    texts, received = [], 0
    try:
        answer = await stream.say([PING, '{"type":"fatal"}', PING, PING], 1)
        assert answer.status_code == 200, answer.text
        answer = answer.json()["received"]
    except httpx.HTTPError: answer = None
    if answer is None:
        # The worker that ended was the one that had the post, too.
        await stream.abort()
        while not stream.events.empty():
            if event := stream.events.get_nowait(): texts.append(event[1])
        stream = await Stream.open(http, url("u"), f"{stream.greeting['session']} {len(texts)}")
        handled = stream.greeting["received"]
        rest = [PING, '{"type":"fatal"}', PING, PING][handled:]
        answer = (await stream.say(rest, handled + 1)).json()["received"]
    assert answer == 4, answer
    texts = [json.loads(text) for text in texts + await stream.texts(4 - len(texts))]
    assert [text.get("received") for text in texts] == [1, None, 3, 4] and texts[1]["number"] == 2, texts
    assert (await connections("u"))[0]["session"]["waiting_since"] is None


async def poison():
    """A message that ends each worker that handles it ends its connection, and not the service."""
    other = await Stream.open(http, url("v"), "new")
    stream = await Stream.open(http, url("u"), "new")
    for _ in range(5):
        try: answer = await stream.say([PING, '{"type":"poison"}'], 1)
        except httpx.HTTPError: continue
        if answer.status_code == 404: break
    assert answer.status_code == 404, answer.text
    while (event := await stream.next())[0] != "close": pass
    assert json.loads(event[1])["code"] == 1011, event
    assert (await publish("v", "1"))["delivered"] == 1 and await other.texts(1) == ["1"]


async def endings():
    """What would end a WebSocket ends a stream, for the same reason."""
    for body, code in [(b'"' + b"x" * (1 << 20) + b'"', 1009), (b'{"type":"\xff"}', 1007)]:
        stream = await Stream.open(http, url("u"), "new")
        answer = await http.post(stream.url, content=body, headers={"Martlet-Session": stream.greeting["session"] + " 1"})
        assert answer.json() == {"received": 1}, answer.text
        kind, data = await stream.next()
        assert kind == "close" and json.loads(data)["code"] == code, data
        assert await connections("u") == []
    # Who repeats posts that bring nothing has a rate, too, whatever is wrong with them.
    for messages, first in [([], 1), ([PING], 7), ([PING], (1 << 32) - 1)]:
        stream = await Stream.open(http, url("u"), "new")
        answer = await stream.post(messages, first)
        assert answer.status_code == (409 if messages else 200), answer.text
        async with asyncio.timeout(60):
            while not stream.ended.is_set(): await stream.post(messages, first)
        while (event := await stream.next())[0] != "close": pass
        assert json.loads(event[1])["code"] == 4429, event


async def overflow():
    """What was compressed is sent again plain, if that is not too much; and if it is, the client is told."""
    options = {"compression": "deflate", "ping_interval": None, "max_queue": None, "max_size": None}
    for count, resumed in [(3, True), (6, False)]:
        async with asyncio.timeout(30):
            ws = await connect(f"ws://{CLIENT}/ws?user=u", subprotocols=["martlet", "resume.new"], **options)
            token = json.loads(await ws.recv())["session"]
            texts = [json.dumps(str(number) + "x" * 100_000) for number in range(count)]
            for text in texts: assert (await publish("u", text))["delivered"] == 1
            for text in texts: assert await ws.recv() == text
            ws.transport.abort()
        stream = await Stream.open(http, url("u"), f"{token} 0")
        if resumed:
            assert stream.greeting["resumed"] is True and stream.greeting["replay"] == count, stream.greeting
            # There is room for what comes next, before the client has read anything.
            assert (await publish("u", json.dumps("y" * 10_000)))["delivered"] == 1
            assert await stream.texts(count + 1) == texts + [json.dumps("y" * 10_000)]
        else:
            assert stream.greeting["resume_error"] == "overflow" and "session" in stream.greeting, stream.greeting
            assert len(await connections("u")) == 1
            assert (await publish("u", "1"))["delivered"] == 1 and await stream.texts(1) == ["1"]
        await stream.post([], 0, method="DELETE")
        await stream.abort()


async def slow():
    """Whoever posts slowly, or much, keeps nobody else out."""
    good, other, key = MORE
    auth = lambda token: {"Authorization": f"Bearer {token}"}
    base, address = f"http://{CLIENT}/sse", CLIENT.split(":")
    evil = await Stream.open(http, base, "new", auth(other))
    mine = await Stream.open(http, base, "new", auth(good))
    head = (f"POST /sse HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {other}\r\n"
            f"Martlet-Session: {evil.greeting['session']} 1\r\nContent-Length: ")
    idle = []
    async def begin(length, body):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(f"{head}{length}\r\n\r\n".encode() + body)
        await writer.drain()
        idle.append(writer)
    for _ in range(200): await begin(2, b"{")
    started = time.monotonic()
    another = await Stream.open(http, base, "new", auth(good))
    answer = await mine.post([PING], 1)
    assert answer.json() == {"received": 1}, answer.text
    assert time.monotonic() - started < 4, time.monotonic() - started
    for writer in idle: writer.close()
    # More bytes than there is room for: the oldest must go.
    for _ in range(12): await begin(900_000, b"x" * 300_000)
    reader, writer = await asyncio.open_connection(*address)
    writer.write(f"POST /sse HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {good}\r\n"
                 f"Martlet-Session: {mine.greeting['session']} 2\r\nContent-Length: 15\r\nExpect: 100-continue\r\n\r\n".encode())
    async with asyncio.timeout(4):
        # The body comes when the head was read, and not with it.
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(PING.encode())
        line = await reader.readline()
    assert line == b"HTTP/1.1 200 OK\r\n", (line, await reader.read(1000))
    metrics = (await http.get(f"http://{API}/metrics", headers=auth(key))).text
    assert any(line.startswith("martlet_bodies_refused_total") and not line.endswith(" 0") for line in metrics.splitlines()), metrics


async def refusals():
    """A page learns by the status why it is not let in; and one whose origin is not allowed learns nothing."""
    import jwt
    good, other, secret, key = MORE
    late = jwt.encode({"sub": "u", "exp": int(time.time()) - 3600}, secret, "HS256")
    auth = lambda token: {"Authorization": f"Bearer {token}"}
    base = f"http://{CLIENT}/sse"
    for headers, path, status, code in [
        ({}, "", 401, "token_missing"), (auth("x.y.z"), "", 401, None), (auth(late), "", 401, "token_expired"),
        (auth(good), "?thread_id=other", 403, "thread_not_allowed"), (auth(good), "?user=u", 200, None),
    ]:
        try:
            stream = await Stream.open(http, base + path, "new", headers)
            assert status == 200, (headers, path)
            await stream.abort()
        except Refused as refused:
            assert refused.status == status and code in (None, refused.response.json()["code"]), refused
            assert refused.response.headers["access-control-allow-origin"] == "*", refused.response.headers
    mine = await Stream.open(http, base, "new", auth(good))
    token = mine.greeting["session"]
    # Nothing of a body is read of somebody who may not post.
    for headers, status in [({}, 401), (auth("x.y.z"), 401), (auth(other), 404), (auth(good), 200)]:
        reader, writer = await asyncio.open_connection(*CLIENT.split(":"))
        fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"POST /sse HTTP/1.1\r\nHost: x\r\nMartlet-Session: {token} 1\r\nContent-Length: 15\r\n{fields}\r\n".encode())
        async with asyncio.timeout(20):
            if status == 200: writer.write(PING.encode())
            line = await reader.readline()
        assert line.startswith(f"HTTP/1.1 {status}".encode()), (headers, line)
        writer.close()
    allowed, foreign = {"Origin": "https://app.example.com"}, {"Origin": "https://evil.example.org"}
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, martlet-session"}
    answer = await http.options(base, headers={**allowed, **ask})
    assert answer.status_code == 204 and "content-length" not in answer.headers, answer
    assert "martlet-session" in answer.headers["access-control-allow-headers"], answer.headers
    for method in ("GET", "POST", "OPTIONS", "DELETE"):
        answer = await http.request(method, base, headers={**auth(good), **foreign, "Martlet-Session": token + " 2"})
        assert answer.status_code == 403 and answer.json()["code"] == "origin_not_allowed", answer.text
        assert "access-control-allow-origin" not in answer.headers, answer.headers
    again = await Stream.open(http, base, "new", {**auth(good), **allowed})
    assert again.response.headers["access-control-allow-origin"] == "*"
    # Another path of this listener takes no body, as before.
    assert (await http.post(f"http://{CLIENT}/ws", content="x")).status_code in (404, 413)
    assert (await http.post(f"http://{CLIENT}/v1/users/u/messages", content="1", headers=auth(key))).status_code in (404, 413)


asyncio.run(globals()[SCENARIO]())
