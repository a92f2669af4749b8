# SPDX-License-Identifier: Apache-2.0
"""An asyncio client of Martlet, for tests and bots. It outlives its sockets: when one breaks, the next resumes the session.

    async with Martlet("wss://push.example.org/ws", get_token=token, threads=["t1"]) as client:
        async for event in client:
            match event:
                case Message(data={"type": "question"}): await client.send({"type": "answer"})
                case Lost(reason): ...  # what came meanwhile is gone: fetch your state anew

In a session nothing is lost, doubled or reordered, in either direction, because both sides count text messages.
"""
from __future__ import annotations

import asyncio, json, logging, random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.protocol import State
from websockets.typing import Subprotocol

FINAL_CODES = frozenset({1000, 1002, 1003, 1007, 1008, 1009, 4400, 4403, 4409})
"""Close codes after which connecting again cannot help."""
CODE_OF_STATUS = {400: 4400, 401: 4401, 403: 4403, 426: 4400}
"""What a refused handshake counts as; any other status is a reason to try again later."""
CONFIRM_EVERY, CONFIRM_WITHIN = 32, 5.0
"""Messages are confirmed, and confirmation is asked for, after so many, or so many seconds after the first one."""
FIRST_PAUSE, LONGEST_PAUSE, STEADY_AFTER = 0.5, 20.0, 5.0
"""Pauses before connecting again double from the first to the longest, and start over once a socket was open for a while."""
OPEN_WITHIN, ANSWER_WITHIN, WRITE_WITHIN = 10.0, 10.0, 30.0
"""A socket on which the handshake, the answer to a ping, or a write takes more seconds than this is given up."""
MOST_EVENTS, MOST_WAITING, MOST_UNCONFIRMED, MOST_BYTES = 100, 100, 1000, 16 * 1024 * 1024
"""Events that the application has not read; messages not yet on a socket; sent and not confirmed; size of one from the server."""

log = logging.getLogger("martlet")


@dataclass(frozen=True)
class Opened:
    """A new session has begun: the first one, or the one after `Lost`."""
    connection_id: str
    user_id: str


@dataclass(frozen=True)
class Resumed:
    """The session goes on over a new socket; so many of the next messages were sent while the client was away."""
    replay: int


@dataclass(frozen=True)
class Lost:
    """The session could not go on: fetch your state anew.

    The reason is the server's ("expired", "overflow", "unknown", "forbidden", "ahead"), or "unsupported" without sessions.
    Nobody knows whether the server handled the unconfirmed texts; they are not sent again.
    """
    reason: str
    unconfirmed: tuple[str, ...]


@dataclass(frozen=True)
class Message:
    """A text message, whatever it says (answers and errors are messages, too), and its number in the session."""
    text: str
    data: Any
    """What the text says, or None if it is not JSON."""
    number: int


Event = Opened | Resumed | Lost | Message


class Closed(Exception):
    """The connection has ended for good; iteration raises this after the last event, unless the code is 1000."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".strip())
        self.code, self.reason = code, reason


@dataclass(eq=False)
class _Outgoing:
    """A message to the server: the application's, a join or leave (obsolete in a new session), or the client's own."""
    text: str
    kind: Literal["application", "room", "client"]
    refused: bool = False
    sent_at: float = 0


class _Connect(connect):
    """Follows no redirect: another host would be shown the token."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Martlet:
    """A user's connection: an async context manager, and an async iterator of its events.

    Memory is bounded: where events are not read, the socket is not read either, and nothing is dropped. A client that leaves
    events unread for long stops answering the server's pings, is cut off, and resumes when it reads again.
    """

    def __init__(self, url: str, *, get_token: Callable[[str], Awaitable[str] | str] | None = None, threads: Iterable[str] = (),
                 jobs: Iterable[str] = (), resume: bool = True, **options: Any) -> None:
        """Names the server, and the rooms that each new session joins; entering the context connects.

        `get_token` is called with "connect", "refused" or "expiring", and its JWT used until one of the last two happens. An
        exception of it counts as a failed attempt. More options, such as `ssl`, go to `websockets.asyncio.client.connect`.
        """
        self._url, self._get_token, self._resume, self._options = url, get_token, resume, options
        self._rooms = dict.fromkeys([("thread", name) for name in threads] + [("job", name) for name in jobs])
        self._state: Literal["connecting", "open", "waiting", "closed"] = "connecting"
        self._task: asyncio.Task[None] | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._ws: ClientConnection | None = None
        self._change = asyncio.Event()
        self._events: deque[Event] = deque()
        self._jwt: str | None = None
        self._token_reason = "connect"
        self._was_open = False
        self._session: str | None = None
        # Received messages: how many, how many of them the server knows of, since when it should; how many of a replay are to come.
        self._received, self._acked, self._unacked_at, self._replay = 0, 0, 0.0, 0
        # Messages to the server: not yet on a socket (refused ones first); by number, those that were; by number, those that
        # the server had counted at a resume, which an error within the replay may still turn into refused ones.
        self._waiting: list[_Outgoing] = []
        self._sent: dict[int, _Outgoing] = {}
        self._settling: dict[int, _Outgoing] = {}
        self._number, self._pinged, self._proves = 0, 0, False
        self._heartbeat = self._opened_at = self._heard_at = self._pinged_at = self._asked_at = self._hold_until = self._pace = 0.0

    @property
    def state(self) -> Literal["connecting", "open", "waiting", "closed"]:
        """`open`: a session is connected. `waiting`: until the next attempt to connect. `closed`: for good."""
        return self._state

    @property
    def received(self) -> int:
        """How many messages of this session are in the application's hands, or in its queue of events."""
        return self._received

    @property
    def session(self) -> str | None:
        """The secret by which the next socket resumes the session; None where there is no session."""
        return self._session

    async def __aenter__(self) -> Martlet:
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(self._end)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> Martlet:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._task is None or self._state == "closed":
                error = None if self._task is None or self._task.cancelled() else self._task.exception()
                if error is None or isinstance(error, Closed) and error.code == 1000: raise StopAsyncIteration
                raise error
            await self._change.wait()
        if len(self._events) >= MOST_EVENTS: self._heard_at = _now()  # until now it was not the server that was silent
        event = self._events.popleft()
        self._wake()
        return event

    async def send(self, value: Any) -> bool:
        """Sends a string as it is, anything else as JSON; returns False if the message was not taken.

        While connected this waits until the message is on the socket. While away up to 100 messages wait for a connection, and
        further ones are not taken; nor are they while events go unread that the server's confirmations are behind.
        """
        text = value if isinstance(value, str) else json.dumps(value, allow_nan=False)
        text.encode()  # half a surrogate pair is the caller's error, and not the connection's
        return await self._offer(_Outgoing(text, "application"))

    async def join(self, *, thread: str | None = None, job: str | None = None) -> bool:
        """Joins a room, in this session and in those that follow a lost one; False means as in `send`. The answer is a message."""
        room = self._room(thread, job)
        if taken := await self._offer(_Outgoing(_room_text("join", *room), "room")): self._rooms[room] = None
        return taken

    async def leave(self, *, thread: str | None = None, job: str | None = None) -> bool:
        """Leaves a room, as `join` joins it."""
        room = self._room(thread, job)
        if taken := await self._offer(_Outgoing(_room_text("leave", *room), "room")): self._rooms.pop(room, None)
        return taken

    async def close(self) -> None:
        """Ends the session with 1000, and the iteration after the events that have come. What waits for a connection is dropped."""
        ws = self._ws
        tasks = [task for task in (self._task, self._renewal) if task is not None]
        for task in tasks: task.cancel()
        if tasks: await asyncio.wait(tasks)
        self._become("closed")
        if ws: await asyncio.gather(ws.close(), _drain(ws), return_exceptions=True)  # an unread socket would hide the answer

    def abandon(self) -> None:
        """Breaks the TCP connection without a close frame, for tests; the client resumes by itself."""
        if self._ws: self._ws.transport.abort()

    # The life of the client: one socket after another.

    async def _run(self) -> None:
        tries, renewed = 0, False
        while True:
            self._become("connecting")
            self._opened_at = float("inf")
            ending = await self._live()
            self._become("waiting")
            if ending.code in FINAL_CODES or ending.code == 4401 and not self._get_token: raise ending
            if _now() - self._opened_at >= STEADY_AFTER: tries, renewed = 0, False
            again, renewed = renewed, ending.code == 4401
            if renewed: self._jwt, self._token_reason = None, "refused"
            if renewed and not again: continue
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(tries, 16)) * random.random()
            tries += 1
            log.info("%s: %s; connecting again in %.1f s", self._url.partition("?")[0], ending, pause)
            await asyncio.sleep(pause)

    async def _live(self) -> Closed:
        """One socket, from its handshake to its end."""
        try:
            if self._jwt is None and self._get_token: self._jwt = await self._ask(self._get_token, self._token_reason)
        except Exception:
            log.warning("get_token failed", exc_info=True)
            return Closed(1006, "get_token failed")
        asked = f"resume.{self._session}.{self._received}" if self._session else "resume.new"
        options: dict[str, Any] = {"open_timeout": OPEN_WITHIN, "ping_interval": None, "max_size": MOST_BYTES, **self._options}
        try:
            self._ws = ws = await _Connect(
                self._url, subprotocols=[Subprotocol(name) for name in (["martlet", asked] if self._resume else ["martlet"])],
                additional_headers={"Authorization": "Bearer " + self._jwt} if self._jwt else None, **options)
        except InvalidStatus as refusal:
            status = refusal.response.status_code
            return Closed(CODE_OF_STATUS.get(status, 1006), f"HTTP {status}")
        except (OSError, EOFError, InvalidHandshake) as error:
            return Closed(1006, repr(error))
        try:
            return await self._serve(ws)
        except ConnectionClosed as closed:
            frame = closed.rcvd or closed.sent
            return Closed(frame.code, frame.reason) if frame else Closed(1006, "")
        finally:
            self._ws = None

    async def _serve(self, ws: ClientConnection) -> Closed:
        try:
            async with asyncio.timeout(OPEN_WITHIN): first = _parse(await ws.recv())
        except TimeoutError:
            ws.transport.abort()
            return Closed(1006, "no first message")
        if not isinstance(first, dict) or first.get("type") != "connection_established":
            await ws.close(1002)
            return Closed(1002, "the server is not Martlet")
        events = self._open(first)
        writer = asyncio.create_task(self._write(ws))
        try:
            for event in events: await self._hand(event)
            while True:
                text = await ws.recv()
                if isinstance(text, str): await self._take(text)
        finally:
            writer.cancel()
            await asyncio.wait([writer])
            if not writer.cancelled(): writer.result()

    def _open(self, first: dict[str, Any]) -> list[Event]:
        """The first message of a socket says whether the session goes on; what is to be sent again comes first."""
        events: list[Event]
        if first.get("resumed") is True and self._session:
            self._number, self._replay = first["received"], first["replay"]
            self._settling |= {number: message for number, message in self._sent.items() if number <= self._number}
            if not self._replay: self._settling.clear()
            again = [message for number, message in self._sent.items() if number > self._number]
            self._waiting = again + [message for message in self._waiting if message.kind != "client"]
            events = [Resumed(self._replay)]
            self._proves = True
        else:
            unknown = [message.text for message in (self._settling | self._sent).values() if message.kind == "application"]
            events = [Lost(first.get("resume_error", "unsupported"), tuple(unknown))] if self._was_open else []
            events.append(Opened(first["connection_id"], first["user_id"]))
            self._settling.clear()
            self._proves = False
            self._number = self._received = self._replay = 0
            self._waiting = [_Outgoing(_room_text("join", *room), "room") for room in self._rooms] + \
                            [message for message in self._waiting if message.kind == "application"]
        self._sent.clear()
        self._was_open, self._session = True, first.get("session") if self._resume else None
        self._acked, self._pinged, self._heartbeat = self._received, self._number, first.get("heartbeat_interval_ms", 25000) / 1000
        self._opened_at = self._heard_at = self._pinged_at = _now()
        self._become("open")
        return events

    # Receiving.

    async def _take(self, text: str) -> None:
        self._heard_at = _now()
        data = _parse(text)
        if isinstance(data, dict): self._heed(data)
        await self._hand(Message(text, data, self._received + 1))
        self._received += 1
        if self._received == self._acked + 1: self._unacked_at = _now()
        if self._replay:
            self._replay -= 1
            if not self._replay: self._settling.clear()
        if self._received - self._acked >= CONFIRM_EVERY: await asyncio.sleep(0)  # `recv` alone does not let the writer run

    async def _hand(self, event: Event) -> None:
        while len(self._events) >= MOST_EVENTS: await self._change.wait()
        self._events.append(event)
        self._wake()

    def _heed(self, data: dict[str, Any]) -> None:
        """Does what a message asks of the client. Numbers only grow in a session, so a replayed pong finds nothing to confirm."""
        match data:
            case {"type": "pong", "received": int(received)} if self._session: self._confirm(received)
            case {"type": "pong"} if not self._session: self._confirm(self._pinged)  # handled in order, so what came before is, too
            case {"type": "error", "number": int(number)} if self._session:
                message = self._sent.pop(number, None) or self._settling.pop(number, None)
                wait = data.get("retry_after_ms")
                if message and isinstance(wait, (int, float)):
                    message.refused, self._pace = True, wait / 1000
                    self._hold_until = max(self._hold_until, _now() + self._pace)
                    self._waiting.insert(sum(other.refused for other in self._waiting), message)
            case {"type": "token_expiring"} if self._get_token and (self._renewal is None or self._renewal.done()):
                self._renewal = asyncio.create_task(self._renew(self._get_token))

    def _confirm(self, received: int) -> None:
        for number in [number for number in self._sent if number <= received]: del self._sent[number]

    async def _ask(self, get_token: Callable[[str], Awaitable[str] | str], reason: str) -> str:
        answer = get_token(reason)
        return (answer if isinstance(answer, str) else await answer).strip()

    async def _renew(self, get_token: Callable[[str], Awaitable[str] | str]) -> None:
        """The socket stays with its new token; one that breaks meanwhile is followed by one that connects with it."""
        try:
            self._jwt = await self._ask(get_token, "expiring")
        except Exception:
            return log.warning("get_token failed", exc_info=True)
        if self._state == "open":
            self._waiting.insert(0, _Outgoing(json.dumps({"type": "authenticate", "token": self._jwt}), "client"))
            self._wake()

    # Sending.

    async def _offer(self, message: _Outgoing) -> bool:
        """Never waits for what cannot come before the caller has read events."""
        while len(self._waiting) >= MOST_WAITING and self._can_wait(): await self._change.wait()
        if len(self._waiting) >= MOST_WAITING or self._state == "closed": return False
        self._waiting.append(message)
        self._wake()
        if self._state == "open": await asyncio.sleep(0)  # the writer's turn, whether events are read or not
        while message in self._waiting and self._can_wait(): await self._change.wait()
        return True

    def _can_wait(self) -> bool:
        return self._state == "open" and len(self._events) < MOST_EVENTS

    async def _write(self, ws: ClientConnection) -> None:
        """The only one who writes to a socket, so that the server counts the messages as they are numbered here."""
        try:
            while ws.state is State.OPEN:
                message, wait = self._next()
                if message is None:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(wait): await self._change.wait()
                    continue
                self._number += 1
                self._proves = False
                if message.kind != "client": self._sent[self._number] = message
                message.sent_at = _now()
                self._wake()
                async with asyncio.timeout(WRITE_WITHIN): await ws.send(message.text)
            self._become("waiting")
            await asyncio.sleep(ANSWER_WITHIN)  # `recv` would wait for the end of TCP for ever
            ws.transport.abort()
        except ConnectionClosed:
            pass
        except Exception as error:
            ws.transport.abort()
            if not isinstance(error, TimeoutError): raise

    def _next(self) -> tuple[_Outgoing | None, float]:
        """What is to be put on the socket now; if nothing, for how long nothing will, unless something changes."""
        now, oldest = _now(), next(iter(self._sent.values()), None)
        ping_at = max(self._heard_at, self._pinged_at) + self._heartbeat
        if oldest: ping_at = min(ping_at, max(oldest.sent_at, self._pinged_at) + CONFIRM_WITHIN)
        if oldest and self._number - self._pinged >= CONFIRM_EVERY or ping_at <= now:
            if self._pinged_at <= self._heard_at: self._asked_at = now  # the first ping of this silence
            self._pinged_at, self._pinged = now, self._number + 1
            return self._own("ping"), 0
        deadlines = [ping_at]
        if self._session and self._received > self._acked:
            if self._received - self._acked >= CONFIRM_EVERY or self._unacked_at + CONFIRM_WITHIN <= now: return self._own("ack"), 0
            deadlines.append(self._unacked_at + CONFIRM_WITHIN)
        if self._pinged_at > self._heard_at and len(self._events) < MOST_EVENTS:
            if self._asked_at + ANSWER_WITHIN <= now: raise TimeoutError
            deadlines.append(self._asked_at + ANSWER_WITHIN)
        if self._waiting and len(self._sent) + len(self._settling) < MOST_UNCONFIRMED:
            if self._hold_until <= now:
                message = self._waiting.pop(0)
                if message.refused: message.refused, self._hold_until = False, now + self._pace  # at the pace that the server asks for
                return message, 0
            deadlines.append(self._hold_until)
        # Until a message comes from here, the token before is good, too: an attempt that was given up could still use it.
        if self._proves: return self._own("ack"), 0
        return None, min(deadlines) - now

    def _own(self, kind: Literal["ping", "ack"]) -> _Outgoing:
        """Either confirms what was received."""
        self._acked = self._received
        return _Outgoing(json.dumps({"type": kind, "received": self._received} if self._session else {"type": kind}), "client")

    # Changes, for which everybody waits in the same place.

    def _wake(self) -> None:
        self._change.set()
        self._change = asyncio.Event()

    def _become(self, state: Literal["connecting", "open", "waiting", "closed"]) -> None:
        if self._state != "closed": self._state = state
        self._wake()

    def _end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled(): task.exception()  # it is raised by the iteration, if there is one
        self._become("closed")

    @staticmethod
    def _room(thread: str | None, job: str | None) -> tuple[str, str]:
        if thread is not None and job is None: return "thread", thread
        if job is not None and thread is None: return "job", job
        raise TypeError("name a thread or a job")


def _room_text(verb: str, kind: str, name: str) -> str:
    return json.dumps({"type": f"{verb}_{kind}", f"{kind}_id": name})


def _parse(text: str | bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _drain(ws: ClientConnection) -> None:
    async for _ in ws: pass
