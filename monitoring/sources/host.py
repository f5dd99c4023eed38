"""The machine that the portal itself runs on, by psutil; names as OpenTelemetry's system metrics have in Prometheus."""

import contextlib
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import psutil

from monitoring.sources import fields
from monitoring.sources.registry import Asked, Pulled
from monitoring.sources.remote_write import Family

# Counting sockets by process walks through every process; the kernel has the sum.
SOCKETS: Final = (Path("/proc/net/sockstat"), Path("/proc/net/sockstat6"))
# What is no disk of anybody's: images, and what lives in memory.
PSEUDO: Final = frozenset({"squashfs", "overlay", "tmpfs", "devtmpfs", "ramfs", "iso9660", "autofs"})
MOST_DISKS: Final = 20

GAUGE, COUNTER = "gauge", "counter"
FAMILIES: Final = (
    Family("system_cpu_time_seconds_total", COUNTER, "s", "Time that the processors spent, by state."),
    Family("system_cpu_utilization_ratio", GAUGE, "", "Share of all processors that was busy since the last look."),
    Family("system_cpu_logical_count", GAUGE, "", "Processors."),
    Family("system_cpu_load_average_1m", GAUGE, "", "Load average of one minute."),
    Family("system_cpu_load_average_5m", GAUGE, "", "Load average of five minutes."),
    Family("system_cpu_load_average_15m", GAUGE, "", "Load average of fifteen minutes."),
    Family("system_memory_usage_bytes", GAUGE, "By", "Memory, by state."),
    Family("system_memory_utilization_ratio", GAUGE, "", "Share of the memory that is not available."),
    Family("system_paging_utilization_ratio", GAUGE, "", "Share of the swap that is used."),
    Family("system_filesystem_usage_bytes", GAUGE, "By", "Space of a file system, by state."),
    Family("system_filesystem_utilization_ratio", GAUGE, "", "Share of a file system that is used."),
    Family("system_disk_io_bytes_total", COUNTER, "By", "Bytes read and written."),
    Family("system_disk_operations_total", COUNTER, "", "Reads and writes."),
    Family("system_network_io_bytes_total", COUNTER, "By", "Bytes received and transmitted."),
    Family("system_network_errors_total", COUNTER, "", "Errors of receiving and transmitting."),
    Family("system_network_dropped_total", COUNTER, "", "Packets dropped in receiving and transmitting."),
    Family("system_network_connections", GAUGE, "", "Sockets in use, by protocol."),
    Family("system_processes_count", GAUGE, "", "Processes."),
    Family("system_uptime_seconds", GAUGE, "s", "Time since the machine was started."),
)

Reading = tuple[str, float, dict[str, str]]


class Host:
    name = "host"
    probes = False
    own = True

    def __init__(self) -> None:
        self._before: tuple[float, float] | None = None  # (busy, total) at the last look, in seconds

    def clean(self, config: Mapping[str, Any]) -> dict[str, Any]:
        fields.only(config, ())
        return {}

    def instance(self, config: Mapping[str, Any]) -> str:
        return socket.gethostname()

    def pull(self, asked: Asked) -> Pulled:
        pulled = Pulled()
        hidden: list[str] = []
        pulled.written.families = list(FAMILIES)
        for read in (self._processors, _memory, _disks, _network, _processes):
            try:
                readings = list(read(asked.time))
            except (OSError, psutil.Error, RuntimeError) as error:
                # A container may hide one of them: the others are still worth having.
                hidden.append(f"{read.__name__.strip('_')}: {error}")
                continue
            pulled.written.samples += [
                {"metric": name, "value": float(value), "time": asked.time, "labels": labels}
                for name, value, labels in readings
            ]
        if not pulled.written.samples:
            pulled.error = "; ".join(hidden)
        return pulled

    def _processors(self, time: float) -> Iterator[Reading]:
        spent = psutil.cpu_times()._asdict()
        for state, seconds in spent.items():
            if not state.startswith("guest"):  # is part of user
                yield "system_cpu_time_seconds_total", seconds, {"state": state}
        total = sum(seconds for state, seconds in spent.items() if not state.startswith("guest"))
        busy = total - spent["idle"] - spent.get("iowait", 0.0)
        before, self._before = self._before, (busy, total)
        if before is not None and total > before[1]:
            share = (busy - before[0]) / (total - before[1])
            yield "system_cpu_utilization_ratio", min(max(share, 0.0), 1.0), {}
        yield "system_cpu_logical_count", psutil.cpu_count() or 1, {}
        for minutes, load in zip((1, 5, 15), psutil.getloadavg(), strict=True):
            yield f"system_cpu_load_average_{minutes}m", load, {}


def _memory(time: float) -> Iterator[Reading]:
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    for state, amount in (("used", memory.used), ("free", memory.free), ("available", memory.available)):
        yield "system_memory_usage_bytes", amount, {"state": state}
    yield "system_memory_utilization_ratio", 1 - memory.available / memory.total, {}
    if swap.total:
        yield "system_paging_utilization_ratio", swap.used / swap.total, {}


def _disks(time: float) -> Iterator[Reading]:
    seen: set[str] = set()
    for disk in psutil.disk_partitions():
        if disk.fstype in PSEUDO or disk.device in seen or len(seen) >= MOST_DISKS:
            continue
        with contextlib.suppress(OSError):  # one that we may not look at
            usage = psutil.disk_usage(disk.mountpoint)
            seen.add(disk.device)
            place = {"mountpoint": disk.mountpoint}
            yield "system_filesystem_usage_bytes", usage.used, {**place, "state": "used"}
            yield "system_filesystem_usage_bytes", usage.free, {**place, "state": "free"}
            yield "system_filesystem_utilization_ratio", usage.percent / 100, place
    moved = psutil.disk_io_counters(nowrap=False)
    if moved is not None:
        yield "system_disk_io_bytes_total", moved.read_bytes, {"direction": "read"}
        yield "system_disk_io_bytes_total", moved.write_bytes, {"direction": "write"}
        yield "system_disk_operations_total", moved.read_count, {"direction": "read"}
        yield "system_disk_operations_total", moved.write_count, {"direction": "write"}


def _network(time: float) -> Iterator[Reading]:
    moved = psutil.net_io_counters(nowrap=False)
    for direction, amount, errors, dropped in (
        ("receive", moved.bytes_recv, moved.errin, moved.dropin),
        ("transmit", moved.bytes_sent, moved.errout, moved.dropout),
    ):
        yield "system_network_io_bytes_total", amount, {"direction": direction}
        yield "system_network_errors_total", errors, {"direction": direction}
        yield "system_network_dropped_total", dropped, {"direction": direction}
    for protocol, count in _sockets().items():
        yield "system_network_connections", count, {"protocol": protocol}


def _sockets() -> dict[str, int]:
    """Sockets in use, where the kernel tells: lines as `TCP: inuse 27 orphan 0 …`."""
    found: dict[str, int] = {}
    for file in SOCKETS:
        with contextlib.suppress(OSError, ValueError):
            for line in file.read_text(encoding="ascii").splitlines():
                protocol, _, rest = line.partition(":")
                name = protocol.removesuffix("6").lower()
                words = rest.split()
                if name in ("tcp", "udp") and words[:1] == ["inuse"]:
                    found[name] = found.get(name, 0) + int(words[1])
    return found


def _processes(time: float) -> Iterator[Reading]:
    yield "system_processes_count", len(psutil.pids()), {}
    yield "system_uptime_seconds", time - psutil.boot_time(), {}
