"""Where what stands beside a journal is kept: one name for one journal, however its address is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.di.companions import companions, state_dir
from holdfast.journal import DatabaseUrl
from holdfast.model.errors import ConfigurationError

pytest.importorskip("psycopg", reason="without its driver no journal is kept in a database")
ADDRESS = "postgresql://bot@db.example:5432/trading"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder that is not there yet, and no setting of libpq."""
    for name in ("PGHOST", "PGHOSTADDR", "PGPORT", "PGUSER", "PGDATABASE", "PGOPTIONS", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_beside_a_file_and_for_a_database_in_the_state_folder(home: Path) -> None:
    """The folder is made; nothing of the address stands in the name."""
    assert companions(Path("bot.journal")) == Path("bot.journal")
    assert not home.exists()

    found = companions(DatabaseUrl(ADDRESS))
    assert found.parent == home == state_dir()
    assert home.is_dir()
    assert found.name.startswith("postgresql-")
    assert not any(word in found.name for word in ("bot", "db.example", "trading"))


@pytest.mark.parametrize(
    "same",
    [
        "postgresql://bot:secret@db.example:5432/trading",
        "postgres://bot@db.example:5432/trading",
        "postgresql://bot@DB.example/trading",
        "postgresql://db.example/trading?user=bot",
        "postgresql://bot@db.example:5432/trading?sslmode=require&password=secret",
        "postgresql://bot@db.example:5432/trading?options=-cstatement_timeout%3D9",
    ],
)
def test_one_database_has_one_name(same: str) -> None:
    """With its password and without, with other options, with what libpq would fill in."""
    assert companions(DatabaseUrl(same)) == companions(DatabaseUrl(ADDRESS))


@pytest.mark.parametrize(
    "other",
    [
        "postgresql://bot@db.example:5433/trading",
        "postgresql://bot@db2.example:5432/trading",
        "postgresql://other@db.example:5432/trading",
        "postgresql://bot@db.example:5432/other",
        ADDRESS + "?options=-csearch_path%3Dspy_bot",
        ADDRESS + "?options=-csearch_path%3Dqqq_bot",
        ADDRESS + "?options=-cstatement_timeout%3D9%20-c%20search_path%3Dspy_bot2,public",
        ADDRESS + '?options=--search_path%3D"Spy_bot"',
    ],
)
def test_what_is_another_journal_has_another_name(other: str) -> None:
    """Above all another schema: a halt of one bot is none of its neighbour."""
    others = [ADDRESS, ADDRESS + "?options=-csearch_path%3Dspy_bot", ADDRESS + "?options=-csearch_path%3Dqqq_bot"]
    names = [companions(DatabaseUrl(one)) for one in others if one != other]
    assert companions(DatabaseUrl(other)) not in names


def test_a_schema_is_read_as_the_server_reads_it() -> None:
    """Case does not matter without quotes, nor does what comes after the first."""
    one = companions(DatabaseUrl(ADDRESS + "?options=-csearch_path%3Dspy_bot"))
    assert companions(DatabaseUrl(ADDRESS + "?options=-c%20search_path%3DSPY_bot,public")) == one
    assert companions(DatabaseUrl(ADDRESS + "?options=--search-path%3Dspy_bot%20-cwork_mem%3D9MB")) == one


def test_the_environment_fills_the_gaps(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does for libpq."""
    monkeypatch.setenv("PGHOST", "db.example")
    monkeypatch.setenv("PGUSER", "bot")
    monkeypatch.setenv("PGDATABASE", "trading")
    assert companions(DatabaseUrl("postgresql://")) == companions(DatabaseUrl(ADDRESS))


def test_what_cannot_be_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be made, and an address that is none; no password is shown."""
    with pytest.raises(ConfigurationError, match="an address that libpq cannot read") as refused:
        companions(DatabaseUrl("postgresql://bot:secret@db:5432/trading?no_such_option=1"))
    assert "secret" not in str(refused.value)

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(ConfigurationError, match="expected HOLDFAST_HOME to name a folder that can be written"):
        companions(DatabaseUrl(ADDRESS))
