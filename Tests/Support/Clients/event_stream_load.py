"""Sessions over streams of server-sent events and WebSockets in turn, whose connections break all the time. Each gets numbered
messages of a backend, and says pings, whose pongs are numbered by the server: everything must come once and in order. Every fourth is a stream that nobody breaks: it must never end.

Usage: event_stream_load.py CLIENT API SESSIONS  (ends, with a report, when its input does)
"""
import asyncio, json, random, sys, threading, time
import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException
from event_stream import Refused, Stream, client

CLIENT, API, SESSIONS = sys.argv[1], sys.argv[2], int(sys.argv[3])
PING = '{"type":"ping"}'
http, wrong, counts = client(), [], {"published": 0, "said": 0, "held": 0, "resumes": 0, "streams": 0}
over = asyncio.Event()
FAULTS = (httpx.HTTPError, OSError, EOFError, WebSocketException, TimeoutError, json.JSONDecodeError, ConnectionError)


class Session:
    def __init__(self, number):
        self.user, self.token, self.received, self.isSteady = f"u{number}", None, 0, number % 4 == 0
        self.published, self.seen, self.pongs, self.said = 0, 0, 0, 0

    def fail(self, text):
        if len(wrong) < 20: wrong.append(f"{self.user}: {text}")

    def hear(self, text):
        self.received += 1
        data = json.loads(text)
        if data.get("type") == "pong":
            if data["received"] != self.pongs + 1: self.fail(f"pong {data['received']} after {self.pongs}")
            self.pongs = data["received"]
        elif "n" in data:
            if data["n"] != self.seen + 1: self.fail(f"message {data['n']} after {self.seen}")
            self.seen = data["n"]
        else: self.fail(f"unexpected: {text}")

    @property
    def is_done(self): return over.is_set() and self.seen == self.published and self.pongs == self.said

    def opened(self, greeting):
        if self.token:
            counts["resumes"] += 1
            if greeting["resumed"] is not True: self.fail(f"not resumed: {greeting}")
        self.token = greeting["session"]
        return greeting.get("received", 0)

    async def run(self):
        while not self.is_done:
            try: await (self.stream() if self.isSteady or random.random() < 0.7 else self.socket())
            except Refused as refused:
                if refused.status != 503: self.fail(str(refused))
            except (httpx.TimeoutException, TimeoutError) as error: self.fail(f"not answered: {error!r}")
            except FAULTS as error:
                if self.isSteady: self.fail(f"ended: {error!r}")
            await asyncio.sleep(random.random() * 0.1)

    def offer(self): return f"{self.token} {self.received}" if self.token else "new"

    async def stream(self):
        stream = await Stream.open(http, f"http://{CLIENT}/sse?user={self.user}", self.offer())
        counts["streams"] += 1
        try:
            handled = self.opened(stream.greeting)
            # Each post may take several pings; those that were not answered are posted again, in another cut.
            async def talk():
                nonlocal handled
                while not self.is_done:
                    if handled == self.said and not over.is_set():
                        self.said += random.randrange(1, 4)
                    if handled < self.said:
                        try: answer = await stream.post([PING] * (self.said - handled), handled + 1)
                        except httpx.HTTPError:
                            # The worker that had the post ended; the stream did not.
                            if not self.isSteady: raise
                            continue
                        if answer.status_code == 200:
                            if not handled <= answer.json()["received"] <= self.said: self.fail(answer.text)
                            handled = answer.json()["received"]
                        elif answer.status_code in (503, 429): pass
                        elif answer.status_code in (404, 409): return stream.task.cancel()
                        else: self.fail(f"{answer.status_code} {answer.text}")
                    await asyncio.sleep(random.random() * 0.2)
            await self.live(talk(), self.read_events(stream))
        finally: await stream.abort()

    async def read_events(self, stream):
        while True:
            kind, text = await stream.next(None)
            if kind == "message": self.hear(text)
            elif self.isSteady: self.fail(f"closed: {text}")

    async def socket(self):
        offer = "resume." + self.offer().replace(" ", ".")
        ws = await connect(f"ws://{CLIENT}/ws?user={self.user}", subprotocols=["martlet", offer], ping_interval=None, max_queue=None,
                           open_timeout=10)
        try:
            handled = self.opened(json.loads(await asyncio.wait_for(ws.recv(), 10)))
            async def talk():
                nonlocal handled
                while not self.is_done:
                    if handled == self.said and not over.is_set(): self.said += 1
                    while handled < self.said:
                        await ws.send(PING)
                        handled += 1
                    await asyncio.sleep(random.random() * 0.2)
            async def read():
                while True: self.hear(await ws.recv())
            await self.live(talk(), read())
        finally: ws.transport.abort()

    async def live(self, *roles):
        """Lives for a while, or until something breaks, or everything has come."""
        tasks = [asyncio.create_task(role) for role in roles]
        try:
            deadline = time.monotonic() + (3600 if self.isSteady else random.expovariate(1 / 1.5))
            while not self.is_done and (over.is_set() or time.monotonic() < deadline):
                done, _ = await asyncio.wait(tasks, timeout=0.05, return_when=asyncio.FIRST_EXCEPTION)
                for task in done: task.result()
                if done and any(not task.cancelled() for task in done) and len(done) == len(tasks): return
        finally:
            for task in tasks: task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def backend(name, sessions):
    """Publishes to its own users, with a key each, and again where the answer was lost or said to try again."""
    number = 0
    while not over.is_set():
        session = random.choice(sessions)
        number += 1
        text = json.dumps({"n": session.published + 1})
        while True:
            try:
                answer = await http.post(f"http://{API}/v1/users/{session.user}/messages", content=text,
                                         headers={"Idempotency-Key": f"{name}-{number}"}, timeout=20)
            except httpx.HTTPError as error:
                if isinstance(error, httpx.TimeoutException): session.fail(f"publish not answered: {error!r}")
                await asyncio.sleep(0.05)
                continue
            if answer.status_code == 503:
                await asyncio.sleep(0.05)
                continue
            receipt = answer.json()
            if receipt.get("matched") != 1 or receipt["failed"]: session.fail(f"receipt {answer.text}")
            counts["held"] += receipt.get("held", 0)
            break
        session.published += 1
        counts["published"] += 1


async def main():
    sessions = [Session(number) for number in range(SESSIONS)]
    tasks = [asyncio.create_task(session.run()) for session in sessions]
    async with asyncio.timeout(60):
        while not all(session.token for session in sessions): await asyncio.sleep(0.05)
    publishing = asyncio.gather(*(backend(name, sessions[name::8]) for name in range(8)))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    over.set()
    await publishing
    try: await asyncio.wait_for(asyncio.gather(*tasks), 60)
    except TimeoutError:
        for session in sessions:
            if not session.is_done:
                session.fail(f"seen {session.seen} of {session.published}, {session.pongs} of {session.said} pongs")
    counts["said"] = sum(session.said for session in sessions)
    print(json.dumps({**counts, "wrong": wrong}), flush=True)


asyncio.run(main())
