"""The write-ahead journal: every event before it is handled, every order before it is sent."""

from holdfast.journal.log import EpochRecord, Journal, Kind, Record, Snapshot
from holdfast.journal.memory import MemoryJournal
from holdfast.journal.opening import open_journal
from holdfast.journal.owner import Owner, read_owner
from holdfast.journal.places import DatabaseUrl
from holdfast.journal.reader import JournalReader
from holdfast.journal.sqlite import SqliteJournal

__all__ = [
    "DatabaseUrl",
    "EpochRecord",
    "Journal",
    "JournalReader",
    "Kind",
    "MemoryJournal",
    "Owner",
    "Record",
    "Snapshot",
    "SqliteJournal",
    "open_journal",
    "read_owner",
]
