"""The journal beside bare SQLite on the same disk: a durable submit, appends, group commit, and reading at a restart.

Run it with ``python benchmarks/journal.py``; ``--folder`` chooses the disk, ``--postgres URL`` measures a
database too (in a schema that is made and dropped). It takes less than half a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from pathlib import Path

from holdfast.journal import JournalReader, Kind, Snapshot, SqliteJournal, open_journal
from holdfast.journal.rows import encode, seal_all
from holdfast.journal.stored import StoredJournal
from holdfast.model import Bar, OrderIntent, OrderSide, OrderType, Signal, Stage, TimeInForce, Verdict
from holdfast.model.commands import Command, RecordVerdict, SubmitOrder

SUBMITS = 1_000
APPENDS, BATCH = 100_000, 1_000
LARGE = 200_000
TOGETHER = 50
_START = 1_640_995_200_000_000_000


def bar(number: int) -> Bar:
    """A minute."""
    return Bar(_START + number * 60_000_000_000, "SPY", 470.0, 470.5, 469.5, 470.25, 12_345.0)


def order(number: int) -> tuple[Command, ...]:
    """What the kernel answers to a bar on which it buys."""
    name, ts = f"{'0' * 32}-{'0' * 16}-{number}", _START + number
    signal = Signal(symbol="SPY", side=OrderSide.BUY, quantity=Decimal(10), strategy_id="Bench", reason="below")
    verdict = Verdict(ts=ts, approved=True, stage=Stage.ACCEPTED, signal=signal, client_order_id=name)
    intent = OrderIntent(
        client_order_id=name,
        symbol="SPY",
        side=OrderSide.BUY,
        quantity=Decimal(10),
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY,
        created_at=ts,
        strategy_id="Bench",
        reason="below",
    )
    return RecordVerdict(verdict=verdict), SubmitOrder(intent=intent, deadline=ts + 5_000_000_000)


class Bare:
    """A table in SQLite with the journal's durability, and nothing around it."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("CREATE TABLE rows (seq INTEGER PRIMARY KEY, payload BLOB NOT NULL) STRICT")
        self._seq = 0

    def commit(self, payloads: list[bytes]) -> None:
        """One durable commit."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(
            "INSERT INTO rows (seq, payload) VALUES (?, ?)", [(self._seq + n, p) for n, p in enumerate(payloads, 1)]
        )
        self._db.execute("COMMIT")
        self._seq += len(payloads)

    def close(self) -> None:
        """Let go."""
        self._db.close()


def quantile(values: list[float], q: float) -> float:
    """In microseconds."""
    return sorted(values)[min(int(len(values) * q), len(values) - 1)] * 1e6


async def timed(work: Callable[[], Awaitable[None] | None]) -> float:
    """Seconds."""
    start = time.perf_counter()
    result = work()
    if result is not None:
        await result
    return time.perf_counter() - start


async def durable_submits(journal: StoredJournal, bare: Bare | None) -> tuple[list[float], list[float]]:
    """Event, commands and sync; and in turn with it one bare commit of as many bytes."""
    ours, theirs = [], []
    for number in range(SUBMITS):
        event, commands = bar(number), order(number)

        async def submit(event: Bar = event, commands: tuple[Command, ...] = commands) -> None:
            journal.append_event(event)
            journal.append_commands(commands)
            await journal.sync()

        ours.append(await timed(submit))
        if bare is not None:
            payload = encode(event) + encode(commands)
            theirs.append(await timed(lambda payload=payload: bare.commit([payload])))  # type: ignore[misc]  # None is fine
    return ours, theirs


async def measure_submits(folder: Path, address: str | None) -> None:
    """Print the table of durable submits."""
    bare = Bare(folder / "bare")
    journal = SqliteJournal(folder / "submits.journal")
    ours, theirs = await durable_submits(journal, bare)
    journal.close()
    bare.close()
    print(f"durable submit ({SUBMITS:,} each, in turn), us          median      p99")
    print(f"  one bare SQLite commit                    {quantile(theirs, 0.5):10,.0f}{quantile(theirs, 0.99):10,.0f}")
    print(f"  journal: event, commands, sync            {quantile(ours, 0.5):10,.0f}{quantile(ours, 0.99):10,.0f}")
    ratios = [quantile(ours, q) / quantile(theirs, q) for q in (0.5, 0.99)]
    print(f"  ratio                                     {ratios[0]:10.2f}{ratios[1]:10.2f}")
    if address is not None:
        with schema(address) as url, contextlib.closing(open_journal(url)) as remote:
            far, _ = await durable_submits(remote, None)
        print(f"  journal in PostgreSQL                     {quantile(far, 0.5):10,.0f}{quantile(far, 0.99):10,.0f}")


async def measure_appends(folder: Path) -> None:
    """Print appends a second, the cost of one, and where its encoding goes."""
    events = [bar(number) for number in range(APPENDS)]
    journal = SqliteJournal(folder / "appends.journal")
    appending = 0.0
    start = time.perf_counter()
    for first in range(0, APPENDS, BATCH):
        before = time.perf_counter()
        for event in events[first : first + BATCH]:
            journal.append_event(event)
        appending += time.perf_counter() - before
        await journal.sync()
    ours = APPENDS / (time.perf_counter() - start)
    journal.close()

    payloads = [encode(event) for event in events]
    bare = Bare(folder / "bare-appends")
    start = time.perf_counter()
    for first in range(0, APPENDS, BATCH):
        bare.commit(payloads[first : first + BATCH])
    theirs = APPENDS / (time.perf_counter() - start)
    bare.close()

    start = time.perf_counter()
    seal_all(1, 0, [(Kind.EVENT, event) for event in events])
    sealing = (time.perf_counter() - start) / APPENDS * 1e6
    print(f"appends a second ({APPENDS:,} bars, a sync each {BATCH:,})")
    print(f"  bare inserts of encoded rows              {theirs:10,.0f}")
    print(f"  journal                                   {ours:10,.0f}")
    print(f"  ratio                                     {ours / theirs:10.2f}")
    print(f"  an append, on the trading thread, us      {appending / APPENDS * 1e6:10.2f}")
    print(f"  encoding and sealing it, in the writer, us{sealing:10.2f}")


async def measure_group_commit(folder: Path) -> None:
    """Print what a sync costs where many ask at once."""
    journal = SqliteJournal(folder / "group.journal")

    async def append_and_sync(number: int) -> None:
        journal.append_event(bar(number))
        await journal.sync()

    async def all_together() -> None:
        await asyncio.gather(*(append_and_sync(number) for number in range(TOGETHER)))

    async def one_by_one() -> None:
        for number in range(TOGETHER):
            await append_and_sync(number)

    apart, together = [], []
    for _ in range(10):
        apart.append(await timed(one_by_one))
        together.append(await timed(all_together))
    journal.close()
    print(f"{TOGETHER} who each append and sync, ms")
    print(f"  one after the other                       {quantile(apart, 0.5) / 1e3:10.2f}")
    print(f"  at once                                   {quantile(together, 0.5) / 1e3:10.2f}")


async def measure_restart(folder: Path) -> None:
    """Print how fast a large journal is read, whole and from its last snapshot on."""
    path = folder / "large.journal"
    journal = SqliteJournal(path)
    for number in range(LARGE):
        journal.append_event(bar(number))
        if number == LARGE - 10_000:
            journal.save_snapshot(Snapshot(seq=journal.last_seq, form=1, state=bytes(100_000)))
        if number % 10_000 == 0:
            await journal.sync()
    journal.close()
    with JournalReader(path) as reader:
        start = time.perf_counter()
        count = sum(1 for _ in reader.records())
        whole = time.perf_counter() - start
    start = time.perf_counter()
    with contextlib.closing(SqliteJournal(path)) as again:
        opened = time.perf_counter() - start
        snapshot = again.latest_snapshot()
        tail = sum(1 for _ in again.records(snapshot.seq if snapshot is not None else 0))
        restarted = time.perf_counter() - start
    print(f"reading at a restart ({count:,} records, {path.stat().st_size / 1e6:,.0f} MB)")
    print(f"  records a second, verified and decoded    {count / whole:10,.0f}")
    print(f"  opening, ms                               {opened * 1e3:10.1f}")
    print(f"  opening, snapshot and last {tail:,} records, ms{restarted * 1e3:7.0f}")


@contextlib.contextmanager
def schema(address: str) -> Iterator[str]:
    """A schema that is gone afterwards."""
    import psycopg  # noqa: PLC0415 - an extra

    with psycopg.connect(address, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA holdfast_benchmark")
        try:
            yield f"{address}{'&' if '?' in address else '?'}options=-csearch_path%3Dholdfast_benchmark"
        finally:
            admin.execute("DROP SCHEMA holdfast_benchmark CASCADE")


async def main() -> None:
    """Measure everything, in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, help="Where the files are made; default: the system's for temporary ones."
    )
    parser.add_argument("--postgres", help="Address of a database to measure, too.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        await measure_submits(folder, arguments.postgres)
        await measure_appends(folder)
        await measure_group_commit(folder)
        await measure_restart(folder)


if __name__ == "__main__":
    asyncio.run(main())
