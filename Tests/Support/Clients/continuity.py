"""Holds WebSocket connections under numbered traffic, both ways, while workers are killed; reports every difference.

continuity.py HOST:PORT(clients) HOST:PORT(api) CONNECTIONS SECONDS EVERY [MARTLETCTL CONTROL_SOCKET COMMAND...]
Every so many seconds (0: never) a worker is killed; or, where martletctl is named, it is given the next of the commands.
Prints a JSON object; exits 1 where a message was lost, doubled or out of order, or a connection dropped.
"""
import asyncio, http.client, json, os, random, signal, subprocess, sys, threading, time
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

client_address, api_address, count, seconds, kill_every = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])
random.seed(int(os.environ.get("SEED", "1")))
run = os.urandom(6).hex()
problems, stop = [], threading.Event()
sent = {"unicast": {}, "broadcast": 0, "thread": 0, "echo": {}}
seen = {}
stalls, kills, retries = [], 0, 0


def problem(text):
    if len(problems) < 50:
        problems.append(text)


class Backend:
    """One publisher: every publish carries a key and is repeated until it is answered."""
    def __init__(self):
        self.connection = None
        self.number = 0

    def post(self, path, body, who):
        global retries
        self.number += 1
        key = f"{run}-{who}-{self.number}"
        for attempt in range(200):
            try:
                if self.connection is None:
                    self.connection = http.client.HTTPConnection(api_address, timeout=20)
                self.connection.request("POST", path, body, {"Idempotency-Key": key, "Content-Type": "application/json"})
                answer = self.connection.getresponse()
                text = answer.read()
                if answer.status == 200:
                    return json.loads(text)
                if answer.status != 503:
                    problem(f"{path}: {answer.status} {text[:200]}")
            except (OSError, http.client.HTTPException):
                if self.connection:
                    self.connection.close()
                self.connection = None
            retries += 1
            time.sleep(0.02)
        problem(f"{path}: never answered")
        return None


def check(receipt, matched, what):
    if receipt is not None and (receipt["matched"] != matched or receipt["delivered"] != matched):
        problem(f"{what}: {receipt}, expected {matched}")


def publish_unicast(users):
    backend = Backend()
    while not stop.is_set():
        for user in users:
            if stop.is_set():
                return
            n = sent["unicast"].get(user, 0) + 1
            padding = "x" * (random.choice([10, 10, 10, 3000, 60000]))
            check(backend.post(f"/v1/users/{user}/messages", json.dumps({"u": n, "p": padding}), "u"), 1, "unicast")
            sent["unicast"][user] = n


def publish_wide(kind, path, key, matched):
    backend = Backend()
    while not stop.is_set():
        n = sent[kind] + 1
        check(backend.post(path, json.dumps({key: n}), kind), matched, kind)
        sent[kind] = n
        stop.wait(0.03)


def operate():
    """Planned: nothing is repeated, so every publish must be answered the first time."""
    global kills
    while not stop.wait(random.uniform(0.5, 1.5) * kill_every):
        command = sys.argv[8 + kills % (len(sys.argv) - 8)]
        run = subprocess.run([sys.argv[6], *command.split(), "--control-socket", sys.argv[7]], capture_output=True, text=True)
        if run.returncode:
            problem(f"martletctl {command}: {run.stderr}")
        kills += 1


def kill_workers():
    global kills
    backend = http.client.HTTPConnection(api_address, timeout=10)
    while not stop.wait(random.uniform(0.5, 1.5) * kill_every):
        try:
            backend.request("GET", "/v1/stats")
            shards = json.loads(backend.getresponse().read())["shards"]
        except (OSError, http.client.HTTPException, ValueError):
            backend.close()
            continue
        pid = random.choice(shards)["pid"]
        if pid > 0:
            os.kill(pid, signal.SIGKILL)
            kills += 1


async def listen(name, ws, is_slow):
    state = seen[name]
    last = time.monotonic()
    try:
        while True:
            message = await ws.recv()
            now = time.monotonic()
            stalls.append(now - last) if not is_slow else None
            last = now
            if is_slow and random.random() < 0.02:
                await asyncio.sleep(1)
                last = time.monotonic()
            data = json.loads(message)
            for kind in ("u", "b", "t", "e"):
                if kind in data:
                    if data[kind] != state.get(kind, 0) + 1:
                        problem(f"{name}: {kind} {data[kind]} after {state.get(kind, 0)}")
                    state[kind] = data[kind]
    except ConnectionClosed as closed:
        if not stop.is_set():
            problem(f"{name}: dropped {closed!r}")
        state["dropped"] = True


async def talk(name, ws):
    """Numbered echoes: whole, large, and in fragments with pauses between them."""
    number = 0
    try:
        while not stop.is_set():
            number += 1
            text = json.dumps({"e": number, "p": "y" * random.choice([5, 5, 500, 70000])})
            sent["echo"][name] = number
            if random.random() < 0.3:
                cut = random.randrange(1, len(text))
                async def pieces(text=text, cut=cut):
                    yield text[:cut]
                    await asyncio.sleep(random.uniform(0, 0.05))
                    yield text[cut:]
                await ws.send(pieces())
            else:
                await ws.send(text)
            await asyncio.sleep(random.uniform(0, 0.1))
    except ConnectionClosed:
        pass


async def main():
    users = [f"user-{n}" for n in range(count)]
    echoes = [f"echo-{n}" for n in range(max(2, count // 10))]
    opened, tasks = {}, []
    gate = asyncio.Semaphore(50)

    async def open_one(name, path):
        async with gate:
            opened[name] = await connect(f"ws://{client_address}{path}", compression=None, max_size=None, max_queue=2,
                                         ping_interval=None, open_timeout=20)
        seen[name] = {}

    await asyncio.gather(*(open_one(user, f"/ws?user={user}" + ("&thread_id=t" if n % 2 else "")) for n, user in enumerate(users)),
                         *(open_one(echo, "/echo") for echo in echoes))
    for n, (name, ws) in enumerate(opened.items()):
        tasks.append(asyncio.create_task(listen(name, ws, is_slow=name.startswith("user") and n % 10 == 9)))
    talkers = [asyncio.create_task(talk(name, opened[name])) for name in echoes]
    threads = [threading.Thread(target=publish_unicast, args=(users,)),
               threading.Thread(target=publish_wide, args=("broadcast", "/v1/broadcast", "b", count)),
               threading.Thread(target=publish_wide, args=("thread", "/v1/threads/t/messages", "t", count // 2))]
    if kill_every > 0:
        threads.append(threading.Thread(target=operate if len(sys.argv) > 6 else kill_workers))
    for thread in threads:
        thread.start()
    await asyncio.sleep(seconds)
    stop.set()
    await asyncio.gather(*talkers)
    for thread in threads:
        await asyncio.to_thread(thread.join)

    def missing():
        for n, user in enumerate(users):
            expected = {"u": sent["unicast"].get(user, 0), "b": sent["broadcast"], "t": sent["thread"] if n % 2 else 0}
            for kind, number in expected.items():
                if seen[user].get(kind, 0) != number: yield f"{user}: {kind} {seen[user].get(kind)} of {number}"
        for echo in echoes:
            number = sent["echo"].get(echo, 0)
            if seen[echo].get("e", 0) != number: yield f"{echo}: e {seen[echo].get('e')} of {number}"

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and next(missing(), None):
        await asyncio.sleep(0.1)
    for text in list(missing())[:20]:
        problem("missing " + text)
    dropped = sum(1 for state in seen.values() if state.get("dropped"))
    stalls.sort()
    print(json.dumps({"connections": len(opened), "kills": kills, "dropped": dropped, "retries": retries,
                      "unicast": sum(sent["unicast"].values()), "broadcast": sent["broadcast"], "thread": sent["thread"],
                      "echo": sum(sent["echo"].values()), "problems": problems,
                      "longest_stall_ms": round(1000 * stalls[-1]) if stalls else 0}))
    for task in tasks:
        task.cancel()
    sys.exit(1 if problems or dropped else 0)


asyncio.run(main())
