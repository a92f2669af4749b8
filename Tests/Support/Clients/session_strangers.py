"""Two users with several sessions each, who resume them at random: with their newest token, an older one, the other's, a guess,
and with any count. A model says what must come of it; whatever is received belongs to its user, and comes once and in order.

Usage: session_strangers.py CLIENT API STEPS
"""
import asyncio, http.client, json, random, sys
from websockets.asyncio.client import connect

CLIENT, API, STEPS = sys.argv[1], sys.argv[2].split(":"), int(sys.argv[3])
random.seed()


class Session:
    """What the client knows of a session, and what its messages must be."""

    def __init__(self, user):
        self.user, self.socket, self.tokens, self.received = user, None, [], 0
        self.expected = []  # all messages of the session, in order
        self.isOver = False

    async def drain(self):
        """Receives what must come, message by message."""
        while self.received < len(self.expected):
            text = await asyncio.wait_for(self.socket.recv(), 20)
            want = self.expected[self.received]
            assert text == want, f"{self.user}: {text} in place of {want}"
            self.received += 1


async def open_socket(user, offer):
    # Without a bound for what waits to be read: at it, this library stops reading, and never sees that its socket was closed.
    socket = await connect(f"ws://{CLIENT}/ws?user={user}", subprotocols=["martlet", f"resume.{offer}"], ping_interval=None,
                           max_queue=None)
    return socket, json.loads(await asyncio.wait_for(socket.recv(), 20))


def request(method, path, body=None):
    connection = http.client.HTTPConnection(*API, timeout=20)
    connection.request(method, path, body)
    return json.loads(connection.getresponse().read())


async def main():
    sessions, number = [], 0
    live = lambda user=None: [s for s in sessions if not s.isOver and user in (None, s.user)]
    for _ in range(STEPS):
        user = random.choice(["alice", "bob"])
        match random.randrange(6):
            case 0 if len(live(user)) < 4:
                session = Session(user)
                session.socket, greeting = await open_socket(user, "new")
                session.tokens.append(greeting["session"])
                sessions.append(session)
            case 1 | 2:
                number += 1
                text = json.dumps({"to": user, "n": number})
                receipt = await asyncio.to_thread(request, "POST", f"/v1/users/{user}/messages", text)
                assert receipt["matched"] == len(live(user)) == receipt["delivered"] + receipt["held"], (receipt, len(live(user)))
                for session in live(user):
                    session.expected.append(text)
            case 3 if live(user):
                session = random.choice(live(user))
                if session.socket:
                    if random.random() < 0.7:
                        await session.drain()
                    session.socket.transport.abort()
                    await asyncio.wait_for(session.socket.wait_closed(), 20)
                    session.socket = None
            case 4 if live(user):
                session = random.choice(live(user))
                old, token = session.socket, session.tokens[-1]
                if old and random.random() < 0.5:
                    await session.drain()
                session.socket, greeting = await open_socket(user, f"{token}.{session.received}")
                assert greeting["resumed"] is True and greeting["replay"] == len(session.expected) - session.received, greeting
                session.tokens.append(greeting["session"])
                if old:
                    await asyncio.wait_for(old.wait_closed(), 20)
                await session.drain()
            case 5 if live():
                # Somebody else's token, or one that was good long ago: a new session, and the other one goes on.
                session = random.choice(live())
                stranger = "bob" if session.user == "alice" else "alice"
                guess = random.choice([session.tokens[-1], session.tokens[0], session.tokens[-1][:15] + "A" * 22])
                if session.tokens[0] in session.tokens[-2:] or guess != session.tokens[0]:
                    user = stranger
                else:
                    user = session.user
                socket, greeting = await open_socket(user, f"{guess}.{random.randrange(3)}")
                assert greeting["resumed"] is False and greeting["resume_error"] == "unknown", (user, session.user, greeting)
                await socket.close()
    for session in live():
        if session.socket is None:
            session.socket, greeting = await open_socket(session.user, f"{session.tokens[-1]}.{session.received}")
            assert greeting["resumed"] is True, greeting
        await session.drain()
        await session.socket.close()
    print(f"{len(sessions)} sessions, {number} messages, {sum(len(s.tokens) - 1 for s in sessions)} resumes")


asyncio.run(main())
