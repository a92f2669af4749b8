"""Sessions under numbered traffic both ways, whose connections break all the time: nothing may be lost, doubled or reordered.

Usage: session_load.py CLIENT API SESSIONS CUTS_PER_SECOND
It says "ready" when all are connected, runs until a line comes on standard input, and then prints a report as JSON.
"""
import asyncio, json, os, random, sys, time, urllib.error, urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../../clients/python"))
from martlet import Lost, Martlet, Message, Opened, Resumed

CLIENT, API, SESSIONS, CUTS = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
SETTLED = 60


class Session:
    """A user with one session: what it was sent, and what it said, which the server answers."""

    def __init__(self, number):
        self.user, self.published, self.received, self.said, self.heard = f"user-{number}", 0, 0, 0, 0
        self.client = Martlet(f"ws://{CLIENT}/ws?user={self.user}")
        self.resumes, self.isOpen = 0, asyncio.Event()

    async def run(self, wrong):
        async with self.client:
            async for event in self.client:
                match event:
                    case Opened(): self.isOpen.set()
                    case Resumed(): self.resumes += 1
                    case Lost(reason): wrong.append(f"{self.user} lost its session: {reason}")
                    case Message(data={"n": n}):
                        self.received += 1
                        if n != self.received:
                            wrong.append(f"{self.user}: message {n} in place of {self.received}")
                            self.received = n
                    case Message(data={"type": "thread_joined" | "thread_left" as kind, "thread_id": thread}):
                        expected = ("thread_joined" if self.heard % 2 == 0 else "thread_left", f"t{self.heard // 2}")
                        if (kind, thread) != expected:
                            wrong.append(f"{self.user}: {kind} {thread} in place of {expected}")
                        self.heard += 1
                    case Message(data={"type": "pong"}): pass
                    case Message(text=text): wrong.append(f"{self.user}: {text}")

    async def talk(self):
        """Joins a thread, and leaves it again: the server answers each once."""
        kind = "join_thread" if self.said % 2 == 0 else "leave_thread"
        if await self.client.send({"type": kind, "thread_id": f"t{self.said // 2}"}):
            self.said += 1


def post(lines):
    """Publishes; repeats what was not answered, or whose shard was not there, until it is done."""
    receipts = []
    while len(receipts) < len(lines):
        body = "\n".join(lines[len(receipts):]).encode()
        request = urllib.request.Request(f"http://{API}/v1/batch", body, {"Content-Type": "application/x-ndjson"})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                for line in answer:
                    receipt = json.loads(line)
                    if receipt.get("code") == "shard_unavailable":
                        break
                    receipts.append(receipt)
        except (OSError, urllib.error.HTTPError, ValueError):
            time.sleep(0.05)
    return receipts


async def publish(sessions, wrong, over):
    held = 0
    while not over.is_set():
        chosen = random.sample(sessions, max(1, len(sessions) // 10))
        lines = []
        for session in chosen:
            session.published += 1
            key = f"{session.user}-{session.published}"
            lines.append(json.dumps({"user": session.user, "message": {"n": session.published}, "key": key}))
        for session, receipt in zip(chosen, await asyncio.to_thread(post, lines)):
            held += receipt.get("held", 0)
            if receipt.get("matched") != 1 or receipt.get("failed") != 0:
                wrong.append(f"{session.user}: {receipt}")
    return held


async def cut(sessions, over):
    cuts = 0
    while not over.is_set():
        await asyncio.sleep(random.expovariate(CUTS))
        random.choice(sessions).client.abandon()
        cuts += 1
    return cuts


async def talk(sessions, over):
    while not over.is_set():
        for session in random.sample(sessions, max(1, len(sessions) // 20)):
            await session.talk()
        await asyncio.sleep(0.05)


async def main():
    wrong, over = [], asyncio.Event()
    sessions = [Session(number) for number in range(SESSIONS)]
    tasks = [asyncio.create_task(session.run(wrong)) for session in sessions]
    for session in sessions:
        await asyncio.wait_for(session.isOpen.wait(), 60)
    print("ready", flush=True)
    work = [asyncio.create_task(job) for job in (publish(sessions, wrong, over), cut(sessions, over), talk(sessions, over))]
    await asyncio.to_thread(sys.stdin.readline)
    over.set()
    held, cuts, _ = await asyncio.gather(*work)
    settled = time.monotonic() + SETTLED
    while time.monotonic() < settled and any(s.received < s.published or s.heard < s.said for s in sessions):
        await asyncio.sleep(0.1)
    for session in sessions:
        if (session.received, session.heard) != (session.published, session.said):
            wrong.append(f"{session.user}: {session.received} of {session.published}, {session.heard} of {session.said}, "
                         f"{session.client.state}")
    print(json.dumps({"published": sum(s.published for s in sessions), "said": sum(s.said for s in sessions), "held": held,
                      "cuts": cuts, "resumes": sum(s.resumes for s in sessions), "wrong": wrong[:20]}), flush=True)
    for session in sessions:
        await session.client.close()
    await asyncio.gather(*tasks)


asyncio.run(main())
