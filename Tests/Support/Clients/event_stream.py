"""A client of server-sent events for tests: `httpx` speaks HTTP, and `httpx-sse` reads the events; neither is ours."""
import asyncio, contextlib, json
import httpx, httpx_sse

PATIENCE = 20


class Refused(Exception):
    def __init__(self, response):
        super().__init__(f"{response.status_code} {response.text}")
        self.status, self.response = response.status_code, response


class Stream:
    """One stream, and what its session may post. The first message is `greeting`; the others come from `next()`."""

    def __init__(self, http, url, headers):
        self.http, self.url, self.headers = http, url, headers
        self.events, self.ended, self.greeting, self.task = asyncio.Queue(), asyncio.Event(), None, None

    @classmethod
    async def open(cls, http, url, offer=None, headers=None):
        self = cls(http, url, headers or {})
        opened = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._read(opened, {"Martlet-Resume": offer} if offer else {}))
        self.response = await asyncio.wait_for(opened, PATIENCE)
        kind, text = await self.next()
        self.greeting = json.loads(text)
        assert kind == "message" and self.greeting["type"] == "connection_established", text
        return self

    async def _read(self, opened, headers):
        try:
            async with httpx_sse.aconnect_sse(self.http, "GET", self.url, headers={**self.headers, **headers}) as source:
                if source.response.status_code != 200:
                    await source.response.aread()
                    return opened.set_exception(Refused(source.response))
                opened.set_result(source.response)
                async for event in source.aiter_sse():
                    self.events.put_nowait((event.event, event.data))
        except (httpx.HTTPError, OSError) as error:
            if not opened.done(): opened.set_exception(error)
        finally:
            self.ended.set()
            self.events.put_nowait(None)

    async def next(self, timeout=PATIENCE):
        """The next event, as its type and its data; raises EOFError where the stream has ended."""
        # In this Python, wait_for may swallow a cancellation: whoever is cancelled waits without it.
        event = await (asyncio.wait_for(self.events.get(), timeout) if timeout else self.events.get())
        if event is None:
            self.events.put_nowait(None)
            raise EOFError
        return event

    async def texts(self, count):
        return [(await self.next())[1] for _ in range(count)]

    async def post(self, messages, first, token=None, method="POST"):
        lines = "\n".join(messages)
        headers = {**self.headers, "Martlet-Session": f"{token or self.greeting['session']} {first}"}
        content = lines if method == "POST" else None
        return await self.http.request(method, self.url, content=content, headers=headers, timeout=PATIENCE)

    async def say(self, messages, first):
        """Posts until all messages are handled: of one post only those are that fit into a slice of the server's turn."""
        while True:
            answer = await self.post(messages, first)
            if answer.status_code != 200: return answer
            handled = answer.json()["received"] - first + 1
            messages = [message for message in messages if message.strip()]
            if handled >= len(messages): return answer
            messages, first = messages[max(0, handled):], first + max(0, handled)

    async def abort(self):
        """Breaks the connection, as a network does."""
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError): await self.task


def client():
    return httpx.AsyncClient(timeout=httpx.Timeout(PATIENCE, read=None), limits=httpx.Limits(max_connections=None))
