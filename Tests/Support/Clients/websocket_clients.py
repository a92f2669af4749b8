"""WebSocket clients that are not ours, driven over standard input: a JSON command a line in, a JSON event a line out.

{"op":"open","name":N,"url":U,"protocols":[..],"headers":{..}}  -> {"ev":"open","name":N,"protocol":P} or {"ev":"refused","name":N,"status":S}
{"op":"send","name":N,"text":T} or {"hex":H} or {"fragments":[T, ..]}, {"op":"ping","name":N} -> {"ev":"pong","name":N}
{"op":"close","name":N,"code":C}, {"op":"pause","name":N} (reads no more), {"op":"break","name":N} (resets the connection)
Whatever arrives: {"ev":"message","name":N,"text":T} (or "hex"); at the end {"ev":"closed","name":N,"code":C,"reason":R}.
"""
import asyncio, json, sys
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

connections, readers = {}, {}


def tell(**event):
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


async def read(name, ws):
    try:
        while True:
            message = await ws.recv()
            tell(ev="message", name=name, **({"text": message} if isinstance(message, str) else {"hex": message.hex()}))
    except ConnectionClosed:
        tell(ev="closed", name=name, code=ws.close_code, reason=ws.close_reason)


async def open_one(name, url, protocols, headers):
    try:
        ws = await connect(url, compression=None, max_size=None, max_queue=4, ping_interval=None,
                           subprotocols=protocols or None, open_timeout=10, close_timeout=5,
                           additional_headers=headers)
    except InvalidStatus as refusal:
        return tell(ev="refused", name=name, status=refusal.response.status_code,
                    body=(refusal.response.body or b"").decode(), headers=dict(refusal.response.headers.raw_items()))
    except Exception as error:
        return tell(ev="refused", name=name, status=0, body=repr(error), headers={})
    connections[name] = ws
    tell(ev="open", name=name, protocol=ws.subprotocol)
    readers[name] = asyncio.create_task(read(name, ws))


async def perform(command):
    name = command["name"]
    ws = connections.get(name)
    try:
        match command["op"]:
            case "open": await open_one(name, command["url"], command.get("protocols"), command.get("headers"))
            case "close": await ws.close(command.get("code", 1000))
            case "pause": readers[name].cancel()
            case "break": ws.transport.abort()
            case "ping":
                await (await ws.ping())
                tell(ev="pong", name=name)
            case "send-pinging":
                async def parts():
                    for part in command["fragments"][:-1]:
                        yield part
                    await ws.ping()
                    yield command["fragments"][-1]
                await ws.send(parts())
            case "send" if "fragments" in command: await ws.send(iter(command["fragments"]))
            case "send": await ws.send(command["text"] if "text" in command else bytes.fromhex(command["hex"]))
    except ConnectionClosed:
        pass  # the reader tells


async def main():
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=64 * 1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    opens = asyncio.Semaphore(50)

    async def bounded(command):
        async with opens:
            await perform(command)

    pending = set()
    while line := await lines.readline():
        command = json.loads(line)
        if command["op"] == "open":
            task = asyncio.create_task(bounded(command))
            pending.add(task)
            task.add_done_callback(pending.discard)
        else:
            await perform(command)


asyncio.run(main())
