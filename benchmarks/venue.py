"""The venue under load: orders a second through HTTP on one core, how long each takes, memory, and how long a start takes.

    python -m benchmarks.venue [--seconds 5] [--connections 1,8,32]

The venue is ``holdfast venue`` as a user starts it, with a book on disk, pinned to one core; the load comes from this process, on
another. Each connection places a limit order far from the market and cancels it, one request after the other, each
durable before it is answered. Requests in flight together share a commit, so that more connections give more orders.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import msgspec

_WARM_SECONDS = 1.0
_HEAD = "{method} {path} HTTP/1.1\r\nHost: venue\r\nAPCA-API-KEY-ID: load\r\nAPCA-API-SECRET-KEY: load\r\n"


class Connection:
    """One keep-alive connection, as thin as it can be: what is measured is the venue."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of an answer."""
        head = _HEAD.format(method=method, path=path) + f"Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(answer[9:12]), await self._reader.readexactly(length) if length else b""


class Load:
    """What some connections did.

    Attributes:
        placed: Seconds that each order took to be placed.
        canceled: Seconds that each took to be canceled.
    """

    def __init__(self) -> None:
        self.placed: list[float] = []
        self.canceled: list[float] = []

    async def drive(self, address: tuple[str, int], number: int, until: float) -> None:
        """Place and cancel, one after the other, until the time is over."""
        connection = Connection(*await asyncio.open_connection(*address))
        turn = 0
        while (began := perf_counter()) < until:
            turn += 1
            body = (
                b'{"symbol":"BTC/USD","qty":"0.001","side":"buy","type":"limit","limit_price":"20000",'
                b'"time_in_force":"gtc","client_order_id":"%d-%d-%d"}' % (id(self), number, turn)
            )
            status, answer = await connection.ask("POST", "/v2/orders", body)
            placed = perf_counter()
            _expect(200, status, answer)
            order_id = msgspec.json.decode(answer)["id"]
            status, answer = await connection.ask("DELETE", f"/v2/orders/{order_id}")
            _expect(204, status, answer)
            self.placed.append(placed - began)
            self.canceled.append(perf_counter() - placed)


def _expect(wanted: int, status: int, answer: bytes) -> None:
    if status != wanted:
        message = f"the venue answered {status}: {answer.decode()}"
        raise RuntimeError(message)


async def _load(url: str, connections: int, seconds: float) -> tuple[Load, float]:
    parts = urlsplit(url)
    address = (str(parts.hostname), int(parts.port or 0))
    load, began = Load(), perf_counter()
    await asyncio.gather(*(load.drive(address, number, began + seconds) for number in range(connections)))
    return load, perf_counter() - began


def _start(book: Path, core: int) -> tuple[subprocess.Popen[str], dict[str, Any], float]:
    command = ["taskset", "-c", str(core), sys.executable, "-m", "holdfast", "venue"]
    began = perf_counter()
    process = subprocess.Popen(
        [*command, "--book", str(book), "--speed", "1", "--rate-limit", "0", "--exit-with-parent"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    ready = msgspec.json.decode(process.stdout.readline()) if process.stdout else {}
    return process, ready, perf_counter() - began


def _memory_mb(pid: int, field: str) -> float:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(text.partition(f"{field}:")[2].split()[0]) / 1024


def _cpu_seconds(pid: int) -> float:
    """What the venue has used of a core: where others use the machine too, this is what can be compared."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _percentiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    shown = [ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.9, 0.99)]
    return " ".join(f"{value * 1e3:7.2f}" for value in (*shown, ordered[-1]))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--connections", default="1,8,32")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        process, ready, start_seconds = _start(Path(folder) / "load.book", cores[0])
        try:
            os.sched_setaffinity(0, {cores[-1]})
            print(f"load on the machine before: {os.getloadavg()[0]:.1f}; cores {cores}")
            print(
                f"start until it listens  {start_seconds:5.2f} s, memory then {_memory_mb(process.pid, 'VmRSS'):.0f} MB"
            )
            asyncio.run(_load(ready["url"], 4, _WARM_SECONDS))
            print(
                "connections  orders/s  requests/s  orders/CPU second   placed ms: p50     p90     p99     max   canceled ms: the same"
            )
            for connections in map(int, options.connections.split(",")):
                cpu = _cpu_seconds(process.pid)
                load, seconds = asyncio.run(_load(ready["url"], connections, options.seconds))
                rate, cpu = len(load.placed) / seconds, _cpu_seconds(process.pid) - cpu
                print(
                    f"{connections:11} {rate:9,.0f} {2 * rate:11,.0f} {len(load.placed) / cpu:17,.0f}        {_percentiles(load.placed)}"
                    f"       {_percentiles(load.canceled)}"
                )
            print(
                f"memory at the end       {_memory_mb(process.pid, 'VmRSS'):.0f} MB, at most {_memory_mb(process.pid, 'VmHWM'):.0f} MB"
            )
        finally:
            process.terminate()
            process.wait(timeout=30)


if __name__ == "__main__":
    main()
