"""A journal over a store: what is buffered, what is durable, and what happens when something is wrong.

**Group commit.** Appending puts an object into a list; encoding, checksums and writing happen in one writer
thread. While a commit is on its way, everything appended meanwhile waits for the next, and everybody who asked for a
sync meanwhile waits for that same one: however many ask, at most two commits lie before any of them.

**Failure.** An error of append or sync raises JournalError, and the journal stays failed: the runner stops, because the
kernel may not be ahead of its log.

**Opening.** The store is made or brought to today's form; then the end of the log is looked at. A torn tail is cut off,
put aside and reported; anything else that is wrong stops, here or when the records are read.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from holdfast.journal.log import SNAPSHOTS_KEPT, EpochRecord, Kind, Record, Snapshot, check_snapshot
from holdfast.journal.rows import (
    TORN_RECORDS_MAX,
    Content,
    fault,
    find_end,
    seal_all,
    seal_snapshot,
    seed,
    torn_report,
)
from holdfast.journal.store import Store, all_records, chain_at, newest_snapshot
from holdfast.model.commands import Command
from holdfast.model.errors import JournalError
from holdfast.model.events import Event

_EPOCH, _EVENT, _COMMANDS = int(Kind.EPOCH), int(Kind.EVENT), int(Kind.COMMANDS)


class StoredJournal:
    """The journal that this store keeps; it owns the store, and closes it.

    Raises:
        JournalError: It cannot be opened, is no journal, is of a newer form, or is damaged.
        JournalOwnedError: Another live process owns it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._buffer: list[tuple[int, Content]] = []
        self._snapshots: list[Snapshot] = []
        self._failure: JournalError | None = None
        self._commit: asyncio.Future[None] | None = None
        self._asked, self._done = 0, 0
        self._reports: list[str] = []
        self._closed = False
        try:
            self._head = store.open()
            self._reports += store.warnings
            self._last_seq = self._durable_seq = self._find_end()
            self._chain = chain_at(store, self._last_seq, seed(self._head.journal_id)) or 0
            self._run = secrets.token_hex(8)
        except BaseException:
            store.close()
            raise
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="journal")

    # -- what it is -----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Where it is, for people."""
        return self._store.name

    @property
    def journal_id(self) -> str:
        """128 random bits in hex, made when the journal was."""
        return self._head.journal_id

    @property
    def intent_prefix(self) -> str:
        """The journal's id, and 64 random bits of this opening's own."""
        return f"{self._head.journal_id}-{self._run}"

    @property
    def reports(self) -> tuple[str, ...]:
        """What people should know, as sentences."""
        return tuple(self._reports)

    @property
    def last_seq(self) -> int:
        """The number of the last record appended."""
        return self._last_seq

    @property
    def buffered(self) -> int:
        """Records appended and not yet on their way to be durable."""
        return len(self._buffer)

    # -- appending ------------------------------------------------------------------------------

    def append_epoch(self, record: EpochRecord) -> None:
        """Append the head of a new run."""
        self._append(_EPOCH, record)

    def append_event(self, event: Event) -> None:
        """Append an event, before the kernel is shown it."""
        self._append(_EVENT, event)

    def append_commands(self, commands: Sequence[Command]) -> None:
        """Append what the kernel answered to the last event."""
        self._append(_COMMANDS, tuple(commands))

    def save_snapshot(self, snapshot: Snapshot) -> None:
        """Keep a snapshot with the next sync, in a commit of its own after that of the records."""
        self._check()
        check_snapshot(snapshot, self._last_seq)
        self._snapshots.append(snapshot)
        self._asked += 1

    async def sync(self) -> None:
        """Return once everything appended so far is durable; concurrent calls share commits."""
        self._check()
        seq, asked = self._last_seq, self._asked
        while self._durable_seq < seq or self._done < asked:
            if self._commit is None:
                self._commit = self._start_commit()
            # Who waits may be cancelled; the batch may not, or the records after it would follow a gap.
            await asyncio.shield(self._commit)
            self._check()

    def close(self) -> None:
        """Make the rest durable, where the journal has not failed, and let go of it. Again is nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._failure is None and (self._buffer or self._snapshots):
                self._writer.submit(self._write, *self._take()).result()
        finally:
            self._writer.shutdown(wait=True)
            self._store.close()
        self._check()

    # -- reading --------------------------------------------------------------------------------

    def records(self, after: int = 0) -> Iterator[Record]:
        """The durable records with numbers above ``after``, oldest first, each verified."""
        for row, content in all_records(self._store, self._head, after):
            yield Record(row.seq, content)

    def latest_snapshot(self) -> Snapshot | None:
        """The newest durable snapshot that is whole and belongs to the records that are there."""
        snapshot, passed_over = newest_snapshot(self._store)
        self._reports += [report for report in passed_over if report not in self._reports]
        return snapshot

    # -- inside ---------------------------------------------------------------------------------

    def _append(self, kind: int, content: Content) -> None:
        if self._failure is not None:
            raise self._failure
        self._last_seq += 1
        self._buffer.append((kind, content))

    def _take(self) -> tuple[list[tuple[int, Content]], list[Snapshot]]:
        batch, self._buffer = self._buffer, []
        snapshots, self._snapshots = self._snapshots, []
        return batch, snapshots

    def _start_commit(self) -> asyncio.Future[None]:
        commit = asyncio.get_running_loop().run_in_executor(self._writer, self._write, *self._take())
        commit.add_done_callback(self._commit_ended)
        return commit

    def _commit_ended(self, _: asyncio.Future[None]) -> None:
        self._commit = None

    def _write(self, batch: list[tuple[int, Content]], snapshots: list[Snapshot]) -> None:
        """Runs in the writer thread. A failure is kept: every later call meets it."""
        if self._failure is not None:
            return
        try:
            if batch:
                rows = seal_all(self._durable_seq + 1, self._chain, batch)
                self._store.write(rows)
                self._chain, self._durable_seq = rows[-1].crc, rows[-1].seq
            for snapshot in snapshots:
                chain = chain_at(self._store, snapshot.seq, 0)
                if chain is not None:
                    self._store.write_snapshot(seal_snapshot(snapshot, chain), SNAPSHOTS_KEPT)
                self._done += 1
        except JournalError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - a thread's boundary: whatever it was, this batch will never be durable
            message = f"the journal {self.name} could not be written: {error}; trading stops, nothing unsynced was sent"
            self._failure = JournalError(message)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _find_end(self) -> int:
        """The number of the last record; a torn tail before it is cut off."""
        newest = self._store.newest(2)
        if not newest:
            end = 0
        else:
            before = newest[1].crc if len(newest) == 2 else seed(self._head.journal_id)
            joined = newest[0].seq == (newest[1].seq + 1 if len(newest) == 2 else 1)
            end = newest[0].seq
            if not joined or fault(newest[0], before) is not None:
                window = self._store.newest(TORN_RECORDS_MAX + 2)
                end, reason = find_end(window, self._head.journal_id, self.name)
                self._store.cut(end, reason)
                self._reports.append(torn_report(end, newest[0].seq, reason))
        known = self._store.written_before()
        if known > (newest[0].seq if newest else 0):
            self._reports.append(
                f"the journal ends at record {end}, and {known} were written: an older copy was put in its place, or the "
                "disk lost what it had confirmed; what is missing is learnt again from the venue"
            )
        self._store.remember(end)
        return end
