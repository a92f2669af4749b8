# SPDX-License-Identifier: Apache-2.0
"""The client against a real WebSocket server that the tests drive message by message.

    python -m unittest test_martlet        # in this folder, with websockets installed
"""
from __future__ import annotations

import asyncio, contextlib, http, json, time, unittest
from collections.abc import Callable
from typing import Any
from unittest import mock

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

import martlet
from martlet import Closed, Lost, Martlet, Message, Opened, Resumed


class Socket:
    """What the server sees of one socket of the client."""

    def __init__(self, ws: ServerConnection) -> None:
        assert ws.request
        self.ws, self.path, headers = ws, ws.request.path, ws.request.headers
        self.offer, self.authorization = headers.get("Sec-WebSocket-Protocol"), headers.get("Authorization")

    async def send(self, *values: Any) -> None:
        for value in values: await self.ws.send(value if isinstance(value, str) else json.dumps(value))

    async def greet(self, session: str | None = "S1", **more: Any) -> None:
        if session: more |= {"session": session, "resume_window_ms": 120000}
        await self.send({"type": "connection_established", "connection_id": "c1", "user_id": "alice", "heartbeat_interval_ms": 60000} | more)

    async def receive(self) -> Any:
        async with asyncio.timeout(5): text = await self.ws.recv()
        try: return json.loads(text)
        except ValueError: return text

    async def is_quiet(self) -> bool:
        """Nothing comes for a while."""
        try:
            async with asyncio.timeout(0.15): await self.ws.recv()
        except TimeoutError: return True
        return False

    async def code(self) -> int | None:
        async with asyncio.timeout(5): await self.ws.wait_closed()
        return self.ws.close_code


class Case(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.set(FIRST_PAUSE=0.01, CONFIRM_WITHIN=60.0)
        self.sockets: asyncio.Queue[Socket] = asyncio.Queue()
        self.refusals: list[int] = []
        self.headers: dict[str, str] = {}
        self.server = await serve(self.handle, "127.0.0.1", 0, subprotocols=[Subprotocol("martlet")], process_request=self.refuse,
                                  max_size=None, ping_interval=None, close_timeout=1)
        self.addAsyncCleanup(self.stop)
        self.url = "ws://127.0.0.1:%d/ws" % next(iter(self.server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        self.server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5): await self.server.wait_closed()

    def set(self, **constants: Any) -> None:
        for name, value in constants.items():
            patch = mock.patch.object(martlet, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    async def handle(self, ws: ServerConnection) -> None:
        self.sockets.put_nowait(Socket(ws))
        await ws.wait_closed()

    def refuse(self, ws: ServerConnection, _: Request) -> Response | None:
        if not self.refusals: return None
        response = ws.respond(http.HTTPStatus(self.refusals.pop(0)), "")
        for name, value in self.headers.items(): response.headers[name] = value
        return response

    async def client(self, url: str = "", **options: Any) -> Martlet:
        return await self.enterAsyncContext(Martlet(url or self.url, proxy=None, **options))

    async def socket(self) -> Socket:
        async with asyncio.timeout(5): return await self.sockets.get()

    async def pair(self, **options: Any) -> tuple[Martlet, Socket]:
        """A client whose session is open, and its socket."""
        client, socket = await self.client(**options), await self.socket()
        await socket.greet()
        self.assertEqual(await self.event(client), Opened("c1", "alice"))
        return client, socket

    async def event(self, client: Martlet) -> Any:
        async with asyncio.timeout(5): return await anext(client)

    async def rest(self, client: Martlet) -> list[Any]:
        async with asyncio.timeout(5): return [event async for event in client]

    async def texts(self, client: Martlet, count: int) -> list[str]:
        return [(await self.event(client)).text for _ in range(count)]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition(): await asyncio.sleep(0.005)

    async def no_socket(self) -> None:
        await asyncio.sleep(0.1)
        self.assertTrue(self.sockets.empty())


class Resuming(Case):
    async def test_asks_for_a_session_and_shows_the_token_in_a_header(self) -> None:
        _, socket = await self.pair(url=self.url + "?thread_id=t", get_token=lambda reason: "jwt-" + reason)
        self.assertEqual((socket.offer, socket.authorization), ("martlet, resume.new", "Bearer jwt-connect"))
        self.assertEqual(socket.path, "/ws?thread_id=t")

    async def test_a_token_may_come_later_and_none_is_needed_in_development(self) -> None:
        async def get_token(_: str) -> str: return "later\n"
        self.assertEqual((await self.pair(get_token=get_token))[1].authorization, "Bearer later")
        self.assertIsNone((await self.pair())[1].authorization)

    async def test_resumes_again_and_again_with_the_newest_token_and_the_count(self) -> None:
        client, socket = await self.pair()
        await socket.send("one", "two", "three")
        self.assertEqual([await self.event(client) for _ in range(3)], [Message("one", None, 1), Message("two", None, 2), Message("three", None, 3)])
        client.abandon()
        second = await self.socket()
        self.assertEqual(second.offer, "martlet, resume.S1.3")
        await second.greet("S2", resumed=True, replay=1, received=0)
        await second.send("four", {"five": 5})
        self.assertEqual([await self.event(client) for _ in range(3)], [Resumed(1), Message("four", None, 4), Message('{"five": 5}', {"five": 5}, 5)])
        self.assertEqual((client.received, client.session, client.state), (5, "S2", "open"))
        second.ws.transport.abort()
        self.assertEqual((await self.socket()).offer, "martlet, resume.S2.5")

    async def test_resumes_before_the_first_message(self) -> None:
        client, _ = await self.pair()
        client.abandon()
        self.assertEqual((await self.socket()).offer, "martlet, resume.S1.0")

    async def test_a_lost_answer_to_the_resume_loses_nothing(self) -> None:
        client, socket = await self.pair()
        await client.send("a")
        self.assertEqual(await socket.receive(), "a")
        client.abandon()
        (await self.socket()).ws.transport.abort()
        third = await self.socket()
        self.assertEqual(third.offer, "martlet, resume.S1.0")
        await third.greet("S3", resumed=True, replay=0, received=0)
        self.assertEqual(await third.receive(), "a")

    async def test_every_text_message_counts_except_the_first(self) -> None:
        client, socket = await self.pair()
        await socket.ws.send(b"\0")
        await socket.send({"type": "pong"}, {"type": "error", "number": 7}, "{", {"type": "connection_established"}, "[" * 100000, "")
        self.assertEqual([(await self.event(client)).number for _ in range(6)], [1, 2, 3, 4, 5, 6])
        client.abandon()
        self.assertEqual((await self.socket()).offer, "martlet, resume.S1.6")

    async def test_what_came_before_the_close_is_counted(self) -> None:
        client, socket = await self.pair()
        await socket.send("one", "two")
        await socket.ws.close(1012)
        self.assertEqual((await self.socket()).offer, "martlet, resume.S1.2")
        self.assertEqual(await self.texts(client, 2), ["one", "two"])

    async def test_sends_again_what_was_not_handled_with_new_numbers(self) -> None:
        client, socket = await self.pair()
        for text in "abc": self.assertTrue(await client.send(text))
        self.assertEqual([await socket.receive() for _ in range(3)], ["a", "b", "c"])
        client.abandon()
        second = await self.socket()
        await client.send("d")
        await second.greet("S2", resumed=True, replay=0, received=1)
        self.assertEqual([await second.receive() for _ in range(3)], ["b", "c", "d"])
        client.abandon()
        third = await self.socket()
        await third.greet("S3", resumed=True, replay=0, received=3)  # a, b, c
        self.assertEqual(await third.receive(), "d")
        self.assertTrue(await third.is_quiet())

    async def test_own_pings_and_acks_are_counted_and_not_sent_again(self) -> None:
        self.set(CONFIRM_EVERY=2)
        client, socket = await self.pair()
        await socket.send("x", "y")
        self.assertEqual(await socket.receive(), {"type": "ack", "received": 2})  # 1
        await client.send("a")
        self.assertEqual(await socket.receive(), "a")  # 2
        self.assertEqual(await socket.receive(), {"type": "ping", "received": 2})  # 3
        await client.send("b")
        self.assertEqual(await socket.receive(), "b")  # 4
        client.abandon()
        second = await self.socket()
        self.set(CONFIRM_EVERY=32)
        await second.greet("S2", resumed=True, replay=0, received=2)
        self.assertEqual(await second.receive(), "b")  # 3
        await client.send("c")
        self.assertEqual(await second.receive(), "c")  # 4
        client.abandon()
        third = await self.socket()
        await third.greet("S3", resumed=True, replay=0, received=3)
        self.assertEqual(await third.receive(), "c")

    async def test_a_refused_resume_is_told_and_begins_anew(self) -> None:
        for reason in ("expired", "overflow", "unknown", "forbidden", "ahead"):
            with self.subTest(reason):
                client, socket = await self.pair(threads=["t"], jobs=["j"])
                rooms = [{"type": "join_thread", "thread_id": "t"}, {"type": "join_job", "job_id": "j"}]
                self.assertEqual([await socket.receive(), await socket.receive()], rooms)
                await socket.send("x")
                self.assertEqual(await self.texts(client, 1), ["x"])
                await client.send("a")
                self.assertEqual(await socket.receive(), "a")
                client.abandon()
                second = await self.socket()
                self.assertTrue(await client.send("b"))
                await second.greet("S2", resumed=False, resume_error=reason)
                self.assertEqual([await self.event(client), await self.event(client)], [Lost(reason, ("a",)), Opened("c1", "alice")])
                self.assertEqual([await second.receive() for _ in range(3)], [*rooms, "b"])
                self.assertTrue(await second.is_quiet())
                await second.send("y")
                self.assertEqual(await self.event(client), Message("y", None, 1))
                client.abandon()
                third = await self.socket()
                self.assertEqual(third.offer, "martlet, resume.S2.1")
                await third.greet("S3", resumed=True, replay=0, received=2)  # both joins, and not b
                self.assertEqual(await third.receive(), "b")
                await client.close()

    async def test_without_sessions_every_reconnect_is_lost(self) -> None:
        client, socket = await self.client(), await self.socket()
        await socket.greet(None)
        self.assertEqual(await self.event(client), Opened("c1", "alice"))
        await client.send("a")
        self.assertEqual(await socket.receive(), "a")
        await socket.ws.close(1012)
        second = await self.socket()
        self.assertEqual(second.offer, "martlet, resume.new")
        await second.greet("S1")
        self.assertEqual([await self.event(client), await self.event(client)], [Lost("unsupported", ("a",)), Opened("c1", "alice")])
        self.assertEqual(client.session, "S1")

    async def test_a_client_that_wants_no_session_asks_for_none_and_confirms_nothing(self) -> None:
        self.set(CONFIRM_EVERY=1)
        client, socket = await self.client(resume=False), await self.socket()
        self.assertEqual(socket.offer, "martlet")
        await socket.greet(None)
        await socket.send("x")
        self.assertTrue(await socket.is_quiet())
        await client.send("a")
        self.assertEqual([await socket.receive(), await socket.receive()], ["a", {"type": "ping"}])
        await socket.send({"type": "pong"})  # messages are handled in order: so was "a"
        await self.until(lambda: client.received == 2)
        await socket.ws.close(1012)
        await (await self.socket()).greet(None)
        await self.event(client), await self.texts(client, 2)
        self.assertEqual(await self.event(client), Lost("unsupported", ()))


class Confirming(Case):
    async def test_acknowledges_every_32_messages(self) -> None:
        client, socket = await self.pair()
        await socket.send(*(str(n) for n in range(31)))
        self.assertTrue(await socket.is_quiet())
        await socket.send(*(str(n) for n in range(64)))
        self.assertEqual([(await socket.receive())["received"] for _ in range(2)], [32, 64])
        self.assertTrue(await socket.is_quiet())

    async def test_acknowledges_some_time_after_the_first_message(self) -> None:
        self.set(CONFIRM_WITHIN=0.6)
        client, socket = await self.pair()
        began = time.monotonic()
        for text in "abcd":
            await socket.send(text)
            await asyncio.sleep(0.12)
        self.assertEqual(await socket.receive(), {"type": "ack", "received": 4})
        self.assertTrue(0.55 < time.monotonic() - began < 0.95)
        self.assertTrue(await socket.is_quiet())

    async def test_a_resume_acknowledges(self) -> None:
        client, socket = await self.pair()
        await socket.send("x")
        await self.texts(client, 1)
        client.abandon()
        second = await self.socket()
        self.set(CONFIRM_WITHIN=0.05)
        await second.greet("S2", resumed=True, replay=0, received=0)
        # At once, because the token before is good until a message comes; and only once.
        self.assertEqual(await second.receive(), {"type": "ack", "received": 1})
        self.assertTrue(await second.is_quiet())

    async def test_asks_for_confirmation_some_time_after_the_first_message_and_until_it_comes(self) -> None:
        self.set(CONFIRM_WITHIN=0.4)
        client, socket = await self.pair()
        began = time.monotonic()
        await client.send("a")
        await asyncio.sleep(0.2)
        await client.send("b")
        self.assertEqual([await socket.receive() for _ in range(3)], ["a", "b", {"type": "ping", "received": 0}])
        self.assertTrue(0.35 < time.monotonic() - began < 0.58)
        await socket.send({"type": "pong", "received": 1})
        self.assertEqual(await socket.receive(), {"type": "ping", "received": 1})  # b has not been confirmed
        await socket.send({"type": "pong", "received": 4})
        self.assertEqual(await socket.receive(), {"type": "ack", "received": 2})
        await asyncio.sleep(0.3)
        self.assertTrue(await socket.is_quiet())

    async def test_a_pong_confirms_and_an_old_one_takes_nothing_back(self) -> None:
        client, socket = await self.pair()
        for text in "abc": await client.send(text)
        await socket.send({"type": "pong", "received": 2}, {"type": "pong", "received": 1}, {"type": "pong", "received": "3"})
        await self.until(lambda: client.received == 3)
        client.abandon()
        await (await self.socket()).greet(resumed=False, resume_error="expired")
        await self.texts(client, 3)
        self.assertEqual(await self.event(client), Lost("expired", ("c",)))

    async def test_a_replayed_pong_does_not_confirm_what_was_numbered_anew(self) -> None:
        client, socket = await self.pair()
        for text in "ab": await client.send(text)
        client.abandon()
        second = await self.socket()
        await second.greet("S2", resumed=True, replay=1, received=1)
        await second.send({"type": "pong", "received": 1})
        self.assertEqual(await second.receive(), "b")
        await self.until(lambda: client.received == 1)
        client.abandon()
        third = await self.socket()
        await third.greet("S3", resumed=True, replay=0, received=1)
        self.assertEqual(await third.receive(), "b")

    async def test_pings_a_silent_server_and_gives_it_up_if_it_stays_silent(self) -> None:
        self.set(ANSWER_WITHIN=0.2)
        client, socket = await self.client(), await self.socket()
        await socket.greet(heartbeat_interval_ms=100)
        await client.send("a")
        self.assertEqual([await socket.receive(), await socket.receive()], ["a", {"type": "ping", "received": 0}])
        await socket.send({"type": "pong", "received": 1})
        self.assertEqual(await socket.receive(), {"type": "ping", "received": 1})
        with self.assertRaises(ConnectionClosed):
            for _ in range(20): await socket.receive()
        self.assertEqual((await self.socket()).offer, "martlet, resume.S1.1")

    async def test_gives_up_a_socket_without_a_first_message(self) -> None:
        self.set(OPEN_WITHIN=0.1)
        await self.client()
        self.assertEqual(await (await self.socket()).code(), 1006)
        await self.socket()

    async def test_gives_up_a_socket_that_takes_nothing(self) -> None:
        self.set(WRITE_WITHIN=0.2)
        client, socket = await self.pair(compression=None)
        socket.ws.transport.pause_reading()
        async with asyncio.timeout(5): self.assertTrue(await client.send("x" * 20_000_000))
        self.assertEqual((await self.socket()).offer, "martlet, resume.S1.0")


class Refused(Case):
    async def test_a_refused_message_is_sent_again_after_the_time_that_the_server_names(self) -> None:
        client, socket = await self.pair()
        for text in "abc": await client.send(text)
        for _ in range(3): await socket.receive()
        began = time.monotonic()
        await socket.send(*({"type": "error", "code": "rate_limited", "number": n, "retry_after_ms": 200} for n in (2, 3)))
        self.assertEqual([await socket.receive(), await socket.receive()], ["b", "c"])  # the second one 200 ms later
        self.assertTrue(0.35 < time.monotonic() - began < 0.7)
        await socket.send({"type": "error", "number": 4, "retry_after_ms": 1})
        self.assertEqual(await socket.receive(), "b")
        self.assertEqual([(await self.event(client)).number for _ in range(3)], [1, 2, 3])

    async def test_other_errors_are_final(self) -> None:
        client, socket = await self.pair()
        await client.send("a")
        await socket.receive()
        await socket.send({"type": "error", "number": 1}, {"type": "error", "number": 1, "retry_after_ms": 1}, {"type": "error", "retry_after_ms": 1})
        self.assertTrue(await socket.is_quiet())

    async def test_refused_pings_and_acks_are_not_sent_again(self) -> None:
        self.set(CONFIRM_EVERY=1)
        client, socket = await self.client(), await self.socket()
        await socket.greet()
        await socket.send("x")
        self.assertEqual((await socket.receive())["type"], "ack")
        self.set(CONFIRM_EVERY=32)
        await socket.send({"type": "error", "number": 1, "retry_after_ms": 1})
        self.assertTrue(await socket.is_quiet())

    async def test_an_error_within_the_replay_is_about_a_message_that_the_resume_counted(self) -> None:
        client, socket = await self.pair()
        for text in "ab": await client.send(text)
        for _ in range(2): await socket.receive()
        client.abandon()
        second = await self.socket()
        await second.greet("S2", resumed=True, replay=2, received=2)
        self.assertEqual((await second.receive())["type"], "ack")
        await second.send({"type": "error", "number": 1, "retry_after_ms": 1}, "x")
        self.assertEqual(await second.receive(), "a")
        await second.send({"type": "error", "number": 2, "retry_after_ms": 1})  # not a replayed one: the server would not say that
        self.assertTrue(await second.is_quiet())

    async def test_without_a_replay_there_is_nothing_to_wait_for(self) -> None:
        client, socket = await self.pair()
        await client.send("a")
        client.abandon()
        second = await self.socket()
        await second.greet("S2", resumed=True, replay=0, received=1)
        await self.until(lambda: client.session == "S2")
        client.abandon()
        await (await self.socket()).greet("S3", resumed=False, resume_error="expired")
        self.assertEqual([await self.event(client), await self.event(client)], [Resumed(0), Lost("expired", ())])

    async def test_what_a_lost_replay_would_have_told_is_unconfirmed(self) -> None:
        client, socket = await self.pair()
        await client.send("a")
        client.abandon()
        await (await self.socket()).greet("S2", resumed=True, replay=1, received=1)
        self.assertEqual(await self.event(client), Resumed(1))
        client.abandon()
        await (await self.socket()).greet("S3", resumed=False, resume_error="overflow")
        self.assertEqual(await self.event(client), Lost("overflow", ("a",)))

    async def test_a_refused_message_goes_to_the_next_session(self) -> None:
        client, socket = await self.pair()
        await client.send("a")
        await socket.send({"type": "error", "number": 1, "retry_after_ms": 300})
        await self.event(client)
        client.abandon()
        second = await self.socket()
        await second.greet("S2", resumed=False, resume_error="expired")
        self.assertEqual(await self.event(client), Lost("expired", ()))
        self.assertEqual(await second.receive(), "a")


class Rooms(Case):
    async def test_rooms_are_joined_in_new_sessions_only(self) -> None:
        client, socket = await self.pair(threads=["t"])
        self.assertEqual(await socket.receive(), {"type": "join_thread", "thread_id": "t"})
        self.assertTrue(await client.join(job="j"))
        self.assertTrue(await client.leave(thread="t"))
        self.assertEqual([await socket.receive(), await socket.receive()], [{"type": "join_job", "job_id": "j"}, {"type": "leave_thread", "thread_id": "t"}])
        client.abandon()
        second = await self.socket()
        await second.greet("S2", resumed=True, replay=0, received=2)
        self.assertEqual(await second.receive(), {"type": "leave_thread", "thread_id": "t"})  # the application's, and not handled
        self.assertTrue(await second.is_quiet())
        client.abandon()
        third = await self.socket()
        await client.join(thread="u")
        await third.greet("S3", resumed=False, resume_error="unknown")
        self.assertEqual([await self.event(client), await self.event(client)], [Resumed(0), Lost("unknown", ())])
        self.assertEqual([await third.receive(), await third.receive()], [{"type": "join_job", "job_id": "j"}, {"type": "join_thread", "thread_id": "u"}])
        self.assertTrue(await third.is_quiet())

    async def test_a_room_is_a_thread_or_a_job(self) -> None:
        client, _ = await self.pair()
        for rooms in ({}, {"thread": "t", "job": "j"}):
            with self.assertRaises(TypeError): await client.join(**rooms)


class Tokens(Case):
    async def test_a_token_that_expires_is_renewed_on_the_socket(self) -> None:
        asked: list[str] = []
        def get_token(reason: str) -> str:
            asked.append(reason)
            return f"jwt{len(asked)}"
        client, socket = await self.pair(get_token=get_token)
        await socket.send({"type": "token_expiring"})
        self.assertEqual(await socket.receive(), {"type": "authenticate", "token": "jwt2"})
        client.abandon()
        second = await self.socket()
        self.assertEqual((second.authorization, asked), ("Bearer jwt2", ["connect", "expiring"]))
        await second.greet("S2", resumed=True, replay=0, received=0)
        self.assertEqual((await second.receive())["type"], "ack")
        self.assertTrue(await second.is_quiet())  # the new socket has the new token: no `authenticate`

    async def test_a_renewal_that_waits_is_dropped_with_its_socket(self) -> None:
        self.set(MOST_UNCONFIRMED=1)
        client, socket = await self.pair(get_token=lambda reason: reason)
        await client.send("a")
        await socket.send({"type": "token_expiring"}, "x")
        await self.texts(client, 2)
        await asyncio.sleep(0.05)
        client.abandon()
        second = await self.socket()
        await second.greet("S2", resumed=True, replay=0, received=1)
        self.assertEqual(second.authorization, "Bearer expiring")
        self.assertEqual((await second.receive())["type"], "ack")
        self.assertTrue(await second.is_quiet())

    async def test_a_refused_token_is_replaced_at_once_and_then_with_pauses(self) -> None:
        self.set(FIRST_PAUSE=0.3)
        asked: list[str] = []
        def get_token(reason: str) -> str:
            asked.append(reason)
            return f"jwt{len(asked)}"
        with mock.patch("random.random", return_value=1.0):
            await self.client(get_token=get_token)
            times = []
            for n in range(3):
                socket = await self.socket()
                times.append(time.monotonic())
                self.assertEqual(socket.authorization, f"Bearer jwt{n + 1}")
                await socket.ws.close(4401)
        self.assertEqual(asked, ["connect", "refused", "refused"])
        self.assertLess(times[1] - times[0], 0.2)
        self.assertGreater(times[2] - times[1], 0.25)

    async def test_a_refusal_long_after_the_last_is_a_first_one(self) -> None:
        self.set(FIRST_PAUSE=10.0, STEADY_AFTER=0.05)
        with mock.patch("random.random", return_value=1.0):
            client = await self.client(get_token=lambda _: "jwt")
            await (await self.socket()).ws.close(4401)
            for n in range(2):
                socket = await self.socket()
                await socket.greet(resumed=n > 0, replay=0, received=0)
                await asyncio.sleep(0.1)
                await socket.ws.close(4401)
            await self.socket()

    async def test_without_get_token_a_refused_token_is_final(self) -> None:
        client, socket = await self.pair()
        await socket.ws.close(4401, "token_expired")
        with self.assertRaisesRegex(Closed, "4401 token_expired"): await self.event(client)

    async def test_get_token_may_fail(self) -> None:
        answers = iter([OSError(), "jwt", OSError(), "jwt2"])
        def get_token(_: str) -> str:
            if isinstance(answer := next(answers), Exception): raise answer
            return str(answer)
        with self.assertLogs("martlet", "WARNING") as logs:
            client, socket = await self.pair(get_token=get_token)
            await socket.send({"type": "token_expiring"})
            await self.event(client)
            await asyncio.sleep(0.05)
            await socket.send({"type": "token_expiring"})
            self.assertEqual((await socket.receive())["token"], "jwt2")
        self.assertEqual(len(logs.records), 2)

    async def test_no_redirect_is_followed(self) -> None:
        self.refusals, self.headers = [302], {"Location": self.url + "/elsewhere"}
        await self.client(get_token=lambda _: "jwt")
        self.assertEqual((await self.socket()).path, "/ws")


class Ending(Case):
    async def test_final_codes_end_the_iteration(self) -> None:
        for code in (1002, 1003, 1007, 1008, 1009, 4400, 4403, 4409):
            with self.subTest(code):
                client, socket = await self.pair()
                await socket.send("last")
                await socket.ws.close(code, "why")
                self.assertEqual(await self.texts(client, 1), ["last"])
                for _ in range(2):
                    with self.assertRaises(Closed) as closed: await self.event(client)
                    self.assertEqual((closed.exception.code, closed.exception.reason), (code, "why"))
                self.assertEqual((client.state, await client.send("x")), ("closed", False))
                await self.no_socket()

    async def test_1000_ends_the_iteration_without_an_error(self) -> None:
        client, socket = await self.pair()
        await socket.ws.close(1000)
        self.assertEqual(await self.rest(client), [])
        await self.no_socket()

    async def test_all_other_codes_resume(self) -> None:
        for code in (1001, 1011, 1012, 1013, 1014, 3000, 4408, 4429, 4508, 4999):
            with self.subTest(code):
                client, socket = await self.pair()
                await socket.ws.close(code)
                self.assertEqual((await self.socket()).offer, "martlet, resume.S1.0")
                await client.close()

    async def test_a_refused_handshake_is_like_a_close(self) -> None:
        tokens = iter(["jwt1", "jwt2"])
        self.refusals = [401, 429, 503, 502, 404]
        await self.client(get_token=lambda _: next(tokens))
        self.assertEqual(((await self.socket()).authorization, self.refusals), ("Bearer jwt2", []))
        for status, code in ((403, 4403), (400, 4400), (426, 4400)):
            self.refusals = [status]
            with self.assertRaisesRegex(Closed, f"{code} HTTP {status}"): await self.event(await self.client())
        await self.no_socket()

    async def test_pauses_grow_and_start_over_after_a_steady_socket(self) -> None:
        self.set(LONGEST_PAUSE=0.05, STEADY_AFTER=0.1)
        self.refusals = [503] * 5
        with mock.patch("random.random", return_value=1.0), self.assertLogs("martlet", "INFO") as logs:
            client = await self.client()
            for n, seconds in enumerate((0, 0.15, 0)):
                socket = await self.socket()
                await socket.greet(resumed=n > 0, replay=0, received=0)
                await asyncio.sleep(seconds)
                await socket.ws.close(1012)
            await self.socket()
        self.assertEqual([record.args[2] for record in logs.records], [0.01, 0.02, 0.04, 0.05, 0.05, 0.05, 0.01, 0.02])  # type: ignore[index]

    async def test_pauses_are_random_and_never_overflow(self) -> None:
        self.set(FIRST_PAUSE=0.0)
        endings = iter([Closed(1006, "")] * 1100 + [Closed(1000, "")])
        with mock.patch.object(Martlet, "_live", side_effect=lambda: next(endings)), mock.patch("random.random", return_value=0.5) as random:
            self.assertEqual(await self.rest(await self.client()), [])
        self.assertEqual(random.call_count, 1100)

    async def test_a_server_that_cannot_be_reached_is_tried_again(self) -> None:
        with self.assertLogs("martlet", "INFO") as logs:
            client = await self.client("ws://127.0.0.1:1/ws")
            await self.until(lambda: len(logs.records) >= 3)
            self.assertIn(client.state, ("connecting", "waiting"))

    async def test_a_stranger_is_left(self) -> None:
        client, socket = await self.client(), await self.socket()
        await socket.send({"type": "hello"})
        with self.assertRaisesRegex(Closed, "1002"): await self.event(client)
        self.assertEqual(await socket.code(), 1002)

    async def test_close_ends_the_session(self) -> None:
        client, socket = await self.pair()
        await socket.send("x")
        await client.send("a")
        await self.until(lambda: client.received == 1)
        await client.close()
        self.assertEqual((await socket.receive(), await socket.code(), client.state), ("a", 1000, "closed"))
        self.assertEqual([event.text for event in await self.rest(client)], ["x"])
        await self.no_socket()

    async def test_close_while_away_and_before_the_start(self) -> None:
        client, _ = await self.pair()
        client.abandon()
        await client.close()
        self.assertEqual(await self.rest(client), [])
        await Martlet(self.url).close()


class Bounds(Case):
    async def test_100_messages_wait_while_away(self) -> None:
        client = await self.client()
        socket = await self.socket()
        self.assertEqual([await client.send({"n": n}) for n in range(102)], [True] * 100 + [False] * 2)
        self.assertEqual(await client.join(thread="late"), False)
        await socket.greet()
        numbers = [n for _ in range(103) if (n := (await socket.receive()).get("n")) is not None]  # three pings are among them
        self.assertEqual(numbers, list(range(100)))
        self.assertTrue(await socket.is_quiet())  # the room that was not taken is not joined
        self.assertTrue(await client.send("more"))

    async def test_unread_events_stop_the_reading(self) -> None:
        self.set(MOST_EVENTS=4, ANSWER_WITHIN=0.1)
        client, socket = await self.client(compression=None), await self.socket()
        await socket.greet(heartbeat_interval_ms=100)
        async def flood() -> None:
            for n in range(200): await socket.send(f"{n} " + "x" * 100000)
        task = asyncio.create_task(flood())
        await asyncio.sleep(0.5)
        self.assertFalse(task.done())
        self.assertEqual((client.received, client.state), (3, "open"))  # `Opened` is the fourth event; silence is not the server's
        self.assertIsInstance(await self.event(client), Opened)
        self.assertEqual([int((await self.event(client)).text.split()[0]) for _ in range(200)], list(range(200)))
        await task

    async def test_close_is_prompt_while_events_are_unread(self) -> None:
        self.set(MOST_EVENTS=1)
        client, socket = await self.client(), await self.socket()
        await socket.greet()
        task = asyncio.create_task(socket.send(*["x" * 1000] * 100))
        await asyncio.sleep(0.1)
        async with asyncio.timeout(2): await client.close()
        self.assertEqual(await socket.code(), 1000)
        await task

    async def test_unconfirmed_messages_are_bounded(self) -> None:
        self.set(MOST_UNCONFIRMED=3, MOST_WAITING=2)
        client, socket = await self.pair()
        for text in "abc": self.assertTrue(await client.send(text))
        fourth = asyncio.create_task(client.send("d"))
        for _ in range(3): await socket.receive()
        self.assertTrue(await socket.is_quiet())
        self.assertFalse(fourth.done())
        await socket.send({"type": "pong", "received": 2})
        self.assertEqual((await socket.receive(), await fourth), ("d", True))

    async def test_send_never_waits_for_what_only_reading_can_bring(self) -> None:
        self.set(MOST_UNCONFIRMED=3, MOST_WAITING=2, MOST_EVENTS=2)
        client, socket = await self.pair()
        await socket.send(*"0123456789")
        await self.until(lambda: client.received == 2)
        async with asyncio.timeout(2): self.assertEqual([await client.send(text) for text in "abcdefg"], [True] * 5 + [False] * 2)

    async def test_a_send_that_waits_is_released_when_the_socket_breaks(self) -> None:
        self.set(MOST_UNCONFIRMED=1)
        client, socket = await self.pair()
        await client.send("a")
        second = asyncio.create_task(client.send("b"))
        await asyncio.sleep(0.05)
        client.abandon()
        async with asyncio.timeout(1): self.assertTrue(await second)

    async def test_large_messages_are_taken_and_larger_ones_are_final(self) -> None:
        self.set(ANSWER_WITHIN=0.2)
        client, socket = await self.client(compression=None), await self.socket()
        await socket.greet(heartbeat_interval_ms=300)
        self.assertIsInstance(await self.event(client), Opened)
        await socket.send("x" * 2_000_000)
        self.assertEqual(len((await self.event(client)).text), 2_000_000)
        socket.ws.transport.pause_reading()  # the close frame is not answered, and TCP does not end
        await socket.send("x" * (martlet.MOST_BYTES + 1))
        with self.assertRaisesRegex(Closed, "1009"): await self.event(client)
        socket.ws.transport.abort()

    async def test_what_cannot_be_sent_is_the_callers_error(self) -> None:
        client, socket = await self.pair()
        with self.assertRaises(ValueError): await client.send("\ud800")
        with self.assertRaises(ValueError): await client.send(float("nan"))
        with self.assertRaises(TypeError): await client.send(object())
        self.assertTrue(await client.send("fine"))
        self.assertEqual(await socket.receive(), "fine")


if __name__ == "__main__":
    unittest.main()
