"""Every journal of ours through the one suite that ships for all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.journal import Journal, MemoryJournal, SqliteJournal
from holdfast.journal.log import Kind
from holdfast.journal.postgres import PostgresJournal
from holdfast.journal.rows import decode, encode
from holdfast.model.commands import Command
from holdfast.model.events import Event
from holdfast.testing import FaultyJournal, JournalConformance
from tests.journal import messages
from tests.journal.conftest import schema_name
from tests.journal.postgres import Schemas


class TestSqliteJournal(JournalConformance):
    """The journal in a file."""

    def open(self, place: Path) -> Journal:
        """A file in the place."""
        return SqliteJournal(place / "bot.journal")


class TestPostgresJournal(JournalConformance):
    """The journal in a database, on a real server; each place is a schema of its own."""

    @pytest.fixture(autouse=True)
    def use(self, schemas: Schemas) -> None:
        """Where the schemas are."""
        self.schemas = schemas

    def open(self, place: Path) -> Journal:
        """The place's schema."""
        return PostgresJournal(self.schemas.url(schema_name(place)))


class TestMemoryJournal(JournalConformance):
    """The journal that lives as long as its process."""

    survives = False

    def open(self, place: Path) -> Journal:
        """A new one."""
        return MemoryJournal()


class TestFaultyJournal(JournalConformance):
    """The fake, as long as nothing is scripted, is a journal like any other."""

    survives = False

    def open(self, place: Path) -> Journal:
        """In memory."""
        return FaultyJournal()


class TestFaultyJournalBeforeAFile(JournalConformance):
    """The fake before a real one."""

    def open(self, place: Path) -> Journal:
        """A file in the place."""
        return FaultyJournal(SqliteJournal(place / "bot.journal"))


@settings(max_examples=150)
@given(messages.EVENTS)
def test_any_event_survives_its_bytes(event: Event) -> None:
    """Equal, of the same type, and written in the same bytes again: no digit and no trailing zero is lost."""
    payload = encode(event)

    found = decode(Kind.EVENT, payload)

    assert found == event
    assert type(found) is type(event)
    assert not isinstance(found, tuple)
    assert encode(found) == payload


@settings(max_examples=100)
@given(st.lists(messages.COMMANDS, max_size=3).map(tuple))
def test_any_commands_survive_their_bytes(commands: tuple[Command, ...]) -> None:
    """In their order, each of its own type."""
    payload = encode(commands)

    found = decode(Kind.COMMANDS, payload)

    assert found == commands
    assert isinstance(found, tuple)
    assert [type(command) for command in found] == [type(command) for command in commands]
    assert encode(found) == payload
