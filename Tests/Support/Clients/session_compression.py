"""A session goes from a connection with compression to one without it, and back; its messages stay what they were.

Usage: session_compression.py CLIENT API
"""
import asyncio, json, sys, urllib.request
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

CLIENT, API = sys.argv[1:]
TEXTS = [json.dumps({"n": n, "text": f"message {n} " * 200}) for n in range(6)]
WINDOWS = {"none": None, "full": ClientPerMessageDeflateFactory(),
           "small": ClientPerMessageDeflateFactory(server_max_window_bits=9)}


def publish(text):
    request = urllib.request.Request(f"http://{API}/v1/users/u/messages", text.encode(), method="POST")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def sessions():
    with urllib.request.urlopen(f"http://{API}/v1/users/u/connections") as answer:
        return json.load(answer)["connections"]


async def waiting():
    """Returns once the server has noticed that the connection is broken."""
    async with asyncio.timeout(20):
        while True:
            if (await asyncio.to_thread(sessions))[0]["session"]["waiting_since"]:
                return


async def received(ws):
    return await asyncio.wait_for(ws.recv(), 20)


async def open_with(kind, resume):
    factory = WINDOWS[kind]
    ws = await connect(f"ws://{CLIENT}/ws?user=u", compression=None, extensions=[factory] if factory else None,
                       subprotocols=["martlet", f"resume.{resume}"], ping_interval=None)
    assert bool(ws.protocol.extensions) == (factory is not None), kind
    return ws, json.loads(await received(ws))


async def main():
    kinds = ["full", "none", "small", "full", "small", "none", "full"]
    ws, greeting = await open_with(kinds[0], "new")
    for text in TEXTS[:3]:
        assert publish(text)["delivered"] == 1
        assert await received(ws) == text
    ws.transport.abort()
    await waiting()
    assert publish(TEXTS[3])["held"] == 1
    for kind in kinds[1:]:
        # It has confirmed nothing: everything comes again, in whatever form this client takes it.
        ws, greeting = await open_with(kind, f"{greeting['session']}.0")
        assert greeting["resumed"] and greeting["replay"] == 4, greeting
        got = [await received(ws) for _ in range(4)]
        assert got == TEXTS[:4], f"{kind}: {[len(text) for text in got]}"
        ws.transport.abort()


asyncio.run(main())
