"""The write-ahead journal: every event before it is handled, every order before it is sent."""

from holdfast.journal.log import EpochRecord, Journal, Kind, Record, Snapshot
from holdfast.journal.memory import MemoryJournal
from holdfast.journal.sqlite import SqliteJournal

__all__ = ["EpochRecord", "Journal", "Kind", "MemoryJournal", "Record", "Snapshot", "SqliteJournal"]
