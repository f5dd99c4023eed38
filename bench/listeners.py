"""Many clients of one event stream: each notes when it was told of which change."""

import asyncio
import json
import sys
import time


async def main(port: int, path: str, count: int, seconds: float) -> None:
    told: list[tuple[float, str]] = []
    joined = asyncio.Semaphore(0)

    async def listen() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n")[0], head
        first = True
        async for line in reader:
            if line.startswith(b"data:"):
                if first:
                    joined.release()
                    first = False
                else:
                    told.append((time.time(), json.loads(line[5:])["etag"]))

    tasks = [asyncio.create_task(listen()) for _ in range(count)]
    for _ in range(count):
        await joined.acquire()
    print("listening", flush=True)
    await asyncio.sleep(seconds)
    for task in tasks:
        task.cancel()
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
