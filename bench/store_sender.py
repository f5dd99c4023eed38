"""A Prometheus that writes at a given pace over a few connections, and counts what was taken."""

import json
import socket
import struct
import sys
import threading
import time

import cramjam

LINES = 4  # connections, as Prometheus' shards: each has series of its own


def varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def label(name: str, value: str) -> bytes:
    return field(1, field(1, name.encode()) + field(2, value.encode()))


class Line(threading.Thread):
    """One connection: a request, its answer, the next request when it is due."""

    def __init__(self, port: int, key: str, rate: float, size: int, series: range, until: float) -> None:
        super().__init__()
        self.head = (
            "POST /ingest/prometheus/api/v1/write HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: snappy\r\n"
            "Content-Type: application/x-protobuf\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n"
            f"User-Agent: bench\r\nAuthorization: Bearer {key}\r\nContent-Length: "
        ).encode()
        self.port, self.every, self.size, self.until = port, size / rate, size, until
        labels = [
            label("__name__", "bench_load")
            + label("cpu", str(one % 8))
            + label("instance", f"host-{one}:9100")
            + label("job", "node-exporter")
            + label("mode", "idle")
            for one in series
        ]
        # All but value and time is made once: a sender that is slower than a Prometheus would take the portal's cores.
        self.heads = [b"\x0a" + varint(len(one) + 18) + one + b"\x12\x10\x09" for one in labels]
        self.took: list[float] = []
        self.took_first: list[float] = []  # of these, those in which each series comes for the first time
        self.sent = self.repeated = 0

    def body(self, first: int, now_ms: int) -> bytes:
        time, count = b"\x10" + varint(now_ms), len(self.heads)
        values = [100 + (place * 2654435761 % 1000) / 10 for place in range(first, first + self.size)]
        numbers, begin = struct.pack(f"<{self.size}d", *values), first % count
        heads = (self.heads + self.heads)[begin : begin + self.size]
        parts = [part for n, head in enumerate(heads) for part in (head, numbers[8 * n : 8 * n + 8], time)]
        return bytes(cramjam.snappy.compress_raw(b"".join(parts)))

    def run(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), 60) as wire, wire.makefile("rb") as answer:
            wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            due, first = time.time(), 0
            while (now := time.time()) < self.until:
                if now < due:
                    time.sleep(due - now)
                body = self.body(first, int(time.time() * 1000))
                while True:
                    began = time.perf_counter()
                    wire.sendall(self.head + str(len(body)).encode() + b"\r\n\r\n" + body)
                    status = self._status(answer)
                    if status == 204:
                        break
                    assert status == 503, status
                    self.repeated += 1
                    time.sleep(0.1)
                self.took.append(time.perf_counter() - began)
                if first < len(self.heads):
                    self.took_first.append(self.took[-1])
                self.sent += self.size
                first += self.size
                due += self.every

    def _status(self, answer: "socket.SocketIO") -> int:
        status, length = int(answer.readline().split()[1]), 0
        while (header := answer.readline()) != b"\r\n":
            if header.lower().startswith(b"content-length:"):
                length = int(header.split(b":")[1])
        answer.read(length)
        return status


def main(port: int, key: str, rate: float, size: int, series: int, seconds: float) -> None:
    until, began = time.time() + seconds, time.perf_counter()
    part = series // LINES
    if size > part:
        raise SystemExit("a request would hold a series twice, at one time")
    lines = [Line(port, key, rate / LINES, size, range(one * part, (one + 1) * part), until) for one in range(LINES)]
    for line in lines:
        line.start()
    for line in lines:
        line.join()
    print(
        json.dumps(
            {
                "sent": sum(line.sent for line in lines),
                "repeated": sum(line.repeated for line in lines),
                "seconds": time.perf_counter() - began,
                "took": [one for line in lines for one in line.took],
                "took_first": [one for line in lines for one in line.took_first],
                "took_later": [one for line in lines for one in line.took[len(line.took_first) :]],
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6]))
