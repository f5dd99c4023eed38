"""One OFREP client that asks all the time, and notes how long each answer took: a pause of the server is a late one."""

import json
import socket
import sys
import time

ASKS_EVERY = 0.001  # seconds


def main(port: int, key: str, path: str, seconds: float) -> None:
    body = b'{"context":{"targetingKey":"user-1","country":"DE","plan":"pro","age":30}}'
    request = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    asked: list[tuple[float, float]] = []
    with socket.create_connection(("127.0.0.1", port), 10) as wire, wire.makefile("rb") as answer:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        until = time.time() + seconds
        print("asking", flush=True)
        while (at := time.time()) < until:
            began = time.perf_counter()
            wire.sendall(request)
            status, length = answer.readline(), 0
            assert b" 200 " in status, status
            while (line := answer.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            answer.read(length)
            asked.append((at, time.perf_counter() - began))
            time.sleep(ASKS_EVERY)
    print(json.dumps(asked))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4]))
