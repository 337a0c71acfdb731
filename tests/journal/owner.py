"""Owns a journal as its own process: ``python owner.py FILE_OR_URL``; says how far it is, and stays until it is killed.

It syncs three records, appends two more without a sync, and prints one line that says so.
"""

from __future__ import annotations

import asyncio
import os
import sys

from holdfast.journal import open_journal
from holdfast.model.events import TimerFired


async def main() -> None:
    """Write, say so, and wait for the end."""
    journal = open_journal(sys.argv[1])
    for number in (1, 2, 3):
        journal.append_event(TimerFired(ts=number, name="synced"))
    await journal.sync()
    for number in (4, 5):
        journal.append_event(TimerFired(ts=number, name="unsynced"))
    sys.stdout.write(f"{os.getpid()} {journal.journal_id}\n")
    sys.stdout.flush()
    sys.stdin.read()  # ends with the test that started us, however that ends


if __name__ == "__main__":
    asyncio.run(main())
