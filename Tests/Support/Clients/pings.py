"""When the pings of many clients come: pings.py HOST:PORT COUNT.

Opens COUNT connections at once, prints "ready", waits for a line on standard input, and then for a ping at each of them; prints
{"clients", "moments": how many different hundredths of a second they came in, "span_ms": from the first to the last}.
"""
import asyncio, base64, json, os, struct, sys, time

host, port = sys.argv[1].rsplit(":", 1)
count = int(sys.argv[2])
begun = asyncio.Event()


async def client(number, times):
    reader, writer = await asyncio.open_connection(host, int(port))
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write((f"GET /ws?user=u{number} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
    await reader.readuntil(b"\r\n\r\n")
    yield
    while True:
        head = await reader.readexactly(2)
        length = head[1] & 127
        if length == 126:
            length = struct.unpack(">H", await reader.readexactly(2))[0]
        payload = await reader.readexactly(length)
        if head[0] & 15 == 9:
            now = time.monotonic()
            writer.write(b"\x8a" + bytes([0x80 | length]) + b"\0\0\0\0" + payload)
            if begun.is_set():
                times.append(now)
                yield


async def main():
    times = []
    clients = [client(number, times) for number in range(count)]
    await asyncio.gather(*(anext(c) for c in clients))
    tasks = [asyncio.create_task(anext(c)) for c in clients]
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    begun.set()
    await asyncio.wait_for(asyncio.gather(*tasks), 60)
    print(json.dumps({"clients": len(times), "moments": len({int(t * 100) for t in times}),
                      "span_ms": round(1000 * (max(times) - min(times)))}), flush=True)
    os._exit(0)


asyncio.run(main())
