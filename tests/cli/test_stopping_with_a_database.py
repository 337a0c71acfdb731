"""``holdfast halt``, ``resume`` and ``flatten`` where the journal is a database: whom they reach, and when they say that they do not."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from holdfast.cli import flattening, stopping
from holdfast.di.companions import companions
from holdfast.journal import DatabaseUrl, open_journal
from holdfast.journal.owner import this_process
from holdfast.model.errors import ConfigurationError, HoldfastError, JournalError
from holdfast.runner.halt_file import HaltFile
from holdfast.runner.liveness import Liveness, liveness_path, write_liveness
from holdfast.time import RealTimeClock
from tests.journal.postgres import Schemas, answering_server

NOBODY = DatabaseUrl("postgresql://bot:secret@127.0.0.1:1/trading")


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_HOME", str(tmp_path / "home"))


@pytest.fixture
def place() -> Iterator[DatabaseUrl]:
    """A schema without a journal; skips where no server answers."""
    address = answering_server()
    if address is None:
        pytest.skip("no PostgreSQL server answers (HOLDFAST_TEST_POSTGRES names another)")
    schemas = Schemas(address)
    yield schemas.url(f"holdfast_stopping_{secrets.token_hex(6)}")
    schemas.drop()


def beat(place: Path | DatabaseUrl, **changes: Any) -> None:
    """What a bot, which is this process, said just now."""
    me = this_process()
    said = Liveness(pid=me.pid, birth=me.birth, host=me.host, at=RealTimeClock().now_ns(), trading_state="active")
    write_liveness(liveness_path(companions(place)), msgspec.structs.replace(said, **changes))


async def test_a_database_without_a_journal_is_no_bot(place: DatabaseUrl) -> None:
    """A halt that halts nothing would be worse than none; no file is left behind."""
    with pytest.raises(ConfigurationError, match=r"there is no journal postgresql://.*expected the address"):
        await stopping.halt(place, None, "", reduce=False)
    assert HaltFile(companions(place)).read() is None


async def test_without_a_bot_the_next_one_starts_halted(place: DatabaseUrl, capsys: pytest.CaptureFixture[str]) -> None:
    """The file is in place, and is taken away again."""
    open_journal(place).close()
    await stopping.halt(place, None, "enough", reduce=False)
    order = HaltFile(companions(place)).read()
    assert order is not None
    assert (order.state, order.reason) == ("halted", "enough")
    await stopping.resume(place, None)
    assert HaltFile(companions(place)).read() is None
    assert "No bot runs on" in capsys.readouterr().out


async def test_a_bot_on_another_machine_is_not_said_to_be_halted(place: DatabaseUrl) -> None:
    """It looks for its files there; and nobody is ended by a number of another machine."""
    journal = open_journal(place)
    with psycopg.connect(place.address, autocommit=True) as server:
        server.execute("UPDATE holdfast_owner SET host = 'another-machine'")
    for command in (stopping.halt(place, None, "", reduce=True), stopping.resume(place, None)):
        with pytest.raises(HoldfastError, match="runs on another-machine and looks for its files there"):
            await command
    with pytest.raises(HoldfastError, match=r"the bot runs on another-machine.*end its process \d+ there"):
        await flattening.flatten(place, None, None, seconds=1.0, reason="", everything=False)
    journal.close()


async def test_a_bot_that_keeps_its_files_elsewhere_is_not_said_to_look_at_ours(place: DatabaseUrl) -> None:
    """Another user's, or another HOLDFAST_HOME: it owns the journal, and was never seen here."""
    journal = open_journal(place)
    with pytest.raises(HoldfastError, match=r"was not seen to look at .*\.halt: .*the user that runs it"):
        await stopping.halt(place, None, "", reduce=False)
    journal.close()


async def test_a_file_beside_which_nobody_beat_is_not_said_to_be_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bot was started with a journal.control that the command was not told; with it, it is found."""
    file, control = tmp_path / "journal", tmp_path / "control"
    journal = open_journal(file)
    beat(control)
    with pytest.raises(HoldfastError, match=r"was not seen to look at .*journal\.halt: expected the journal\.control"):
        await stopping.halt(file, None, "", reduce=False)

    config = tmp_path / "bot.toml"
    config.write_text(f'[journal]\ncontrol = "{control}"\n')
    await stopping.halt(file, config, "", reduce=False)
    assert "does not answer, but it looks at the halt file" in capsys.readouterr().out
    assert HaltFile(control).read() is not None
    journal.close()


async def test_a_name_for_the_files_goes_before_the_state_folder(
    place: DatabaseUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """journal.control, where it is set; else the name that follows from the address."""
    open_journal(place).close()
    assert stopping.find_bot(place, None) == stopping.Where(place, companions(place))
    monkeypatch.setenv("HOLDFAST_JOURNAL__CONTROL", str(tmp_path / "named"))
    assert stopping.find_bot(place, None) == stopping.Where(place, tmp_path / "named")


async def test_a_halt_does_not_need_the_database(capsys: pytest.CaptureFixture[str]) -> None:
    """Whose bot was seen at work there is told of it all the same; where it is dead, or never was, that is said."""
    with pytest.raises(JournalError, match="cannot be used as a journal") as refused:
        await stopping.halt(NOBODY, None, "", reduce=False)
    assert "secret" not in str(refused.value)

    beat(NOBODY)
    await stopping.halt(NOBODY, None, "", reduce=False)
    assert "does not answer, but it looks at the halt file" in capsys.readouterr().out
    assert HaltFile(companions(NOBODY)).read() is not None

    beat(NOBODY, birth="another life")
    with pytest.raises(HoldfastError, match=r"the files are in place .*, but who runs on the journal is not known"):
        await stopping.halt(NOBODY, None, "", reduce=False)


async def test_nobody_is_ended_while_the_database_cannot_be_asked() -> None:
    """The bot can do no more than wait, and its journal could not be taken over: one sentence, and the wish stays."""
    beat(NOBODY)
    with pytest.raises(JournalError, match="cannot be used as a journal"):
        await flattening.flatten(NOBODY, None, None, seconds=0.1, reason="", everything=False)
    order = HaltFile(companions(NOBODY)).read()
    assert order is not None
    assert order.state == "flatten"
