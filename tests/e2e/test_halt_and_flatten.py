"""A bot that is stopped from outside, in each state it can be in: it answers, it hangs, it is gone.

Real processes, a real venue beside them, real signals. The venue runs at a speed, so that orders fill.
"""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from holdfast.di.companions import companions
from holdfast.journal import DatabaseUrl, read_owner
from holdfast.journal.owner import this_process
from holdfast.model import TradingState
from holdfast.model.events import FlattenRequested, OrderFilled, TradingStateChanged
from holdfast.runner.halt_file import HaltFile, HaltOrder
from holdfast.runner.liveness import Liveness, read_liveness
from holdfast.testing.processes import LOCAL_KEYS, Command, VenueBooks
from tests.e2e.helpers import (
    SAMPLE_SYMBOL,
    STRATEGIES,
    Commands,
    epochs,
    journal_records,
    journaled_intents,
    open_orders,
    save_waves,
)
from tests.journal.postgres import Schemas, answering_server

HOLDER = ("--strategy", f"{STRATEGIES / 'holder.py'}:Holder")
SECONDS = 10.0


class Scene:
    """A venue, a bot that holds a position and has an order resting, and its journal."""

    def __init__(self, commands: Commands, *, speed: int = 300, database: DatabaseUrl | None = None) -> None:
        self.commands = commands
        self.place: Path | DatabaseUrl = database or commands.folder / "journal"
        self.journal = self.place if database is None else database.address  # as the command takes it
        self.files = companions(self.place)
        data = save_waves(commands.folder / "waves.csv", 3_000)
        self.venue = commands.venue("--data", data, "--symbol", SAMPLE_SYMBOL, "--speed", speed)
        self.bot = self.start()

    def start(self, *more: object) -> Command:
        """A run of the bot."""
        return self.commands.start(
            *("paper", "--venue", self.venue.url, "--symbol", SAMPLE_SYMBOL, *HOLDER),
            *("--journal", self.journal, "--json", *more),
        )

    def positions(self) -> list[dict[str, str]]:
        """What the venue holds for it."""
        found = httpx.get(self.venue.url + "/v2/positions", headers=LOCAL_KEYS, timeout=5.0, trust_env=False)
        return found.raise_for_status().json()  # type: ignore[no-any-return]  # JSON is what it is

    def until_it_holds(self) -> None:
        """Wait until it has a position and an order that rests."""
        self.bot.until(lambda: self.positions() and open_orders(self.venue.url))

    def beat(self) -> Liveness | None:
        """What the bot last said of itself."""
        return read_liveness(self.files)

    def flatten(self, *more: object) -> str:
        """Run ``holdfast flatten``; returns what it said. Within ten seconds, and flat at the venue."""
        before = time.monotonic()
        ended = self.commands.run("flatten", "--journal", self.journal, *more)
        took = time.monotonic() - before
        assert ended.code == 0, ended.err
        assert "Traceback" not in ended.err
        assert took < SECONDS
        assert ended.out.startswith("flat: ")
        assert self.positions() == []
        assert open_orders(self.venue.url) == []
        return ended.err

    def assert_told(self) -> None:
        """The journal tells the story, and no order at the venue is unexplained."""
        events = [record.content for record in journal_records(self.place)]
        asked = next(i for i, event in enumerate(events) if isinstance(event, FlattenRequested))
        filled = max(i for i, event in enumerate(events) if isinstance(event, OrderFilled))
        states = [(i, event) for i, event in enumerate(events) if isinstance(event, TradingStateChanged)]
        assert asked < filled < states[-1][0]
        assert states[-1][1].state is TradingState.HALTED
        assert "flatten: everything is closed" in [event.reason for _, event in states]
        replayed = self.commands.run("replay", self.journal)
        assert replayed.code == 0, replayed.out + replayed.err
        closing = next(event.execution.client_order_id for event in reversed(events) if isinstance(event, OrderFilled))
        explained = self.commands.run("explain", self.journal, closing)
        assert (explained.code, "filled" in explained.out) == (0, True), explained.err
        at_venue = {order["client_order_id"] for order in VenueBooks.ask(self.venue.url).orders}
        assert at_venue <= {intent.client_order_id for intent in journaled_intents(self.place)}

    def halt_file(self) -> HaltOrder:
        """What stands in it."""
        return msgspec.json.decode(Path(f"{self.files}.halt").read_bytes(), type=HaltOrder)


@pytest.fixture
def scene(commands: Commands) -> Scene:
    """A bot that holds something."""
    found = Scene(commands)
    found.until_it_holds()
    return found


@pytest.fixture
def database(commands: Commands, monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabaseUrl]:
    """A schema of the PostgreSQL server that answers; skips where none does."""
    address = answering_server()
    if address is None:
        pytest.skip("no PostgreSQL server answers (HOLDFAST_TEST_POSTGRES names another)")
    monkeypatch.setenv("HOLDFAST_HOME", str(commands.home))  # where the commands keep theirs
    schemas = Schemas(address)
    yield schemas.url(f"holdfast_outside_{secrets.token_hex(6)}")
    commands.clean_up()
    schemas.drop()


# -- flatten -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_bot_that_answers_closes_by_its_own_books_and_lives_on_halted(scene: Scene) -> None:
    """It is asked through the file, exits by journaled intents, and stays, HALTED."""
    said = scene.flatten("--reason", "going home")
    assert "has heard it and closed by its own books" in said
    beat = scene.beat()
    assert beat is not None
    assert (beat.trading_state, beat.positions, beat.open_orders) == ("halted", {}, ())
    assert not scene.bot.has_ended
    assert scene.halt_file().state == "halted"

    summary = scene.bot.finish(signal.SIGTERM).json
    assert (summary["trading_state"], summary["positions"], summary["drift"]) == ("halted", {}, [])
    scene.assert_told()
    assert len(epochs(scene.place)) == 1


@pytest.mark.slow
def test_a_stopped_bot_is_ended_and_its_positions_closed_within_ten_seconds(scene: Scene) -> None:
    """SIGSTOP, then flatten: the owner is ended, the journal taken over, everything closed, HALTED for the next run."""
    scene.bot.process.send_signal(signal.SIGSTOP)
    said = scene.flatten()
    assert f"the bot (pid {scene.bot.process.pid}) does not answer; it is ended." in said
    assert scene.bot.finish().code == -signal.SIGKILL
    scene.assert_told()
    assert len(epochs(scene.place)) == 2

    again = scene.start()
    again.until(lambda: (beat := scene.beat()) is not None and beat.pid == again.process.pid)
    summary = again.finish(signal.SIGTERM).json
    assert (summary["trading_state"], summary["positions"], summary["drift"]) == ("halted", {}, [])
    assert summary["positions"] == summary["venue_positions"]


@pytest.mark.slow
def test_a_stopped_bot_with_a_venue_of_its_own_is_closed_there_too(commands: Commands) -> None:
    """Its venue ends with it; flatten starts that again on its book, from another folder, and the next run finds both flat."""
    data, journal = save_waves(commands.folder / "waves.csv", 3_000), commands.folder / "journal"
    arguments = ["paper", "--data", data.name, "--symbol", SAMPLE_SYMBOL, *HOLDER, "--journal", journal.name, "--json"]
    bot = commands.start(*arguments, "--speed", "300")
    bot.until(lambda: (beat := read_liveness(journal)) is not None and beat.positions and beat.open_orders)
    bot.process.send_signal(signal.SIGSTOP)
    before = time.monotonic()
    ended = commands.run("flatten", "--journal", journal)
    assert (ended.code, ended.out.startswith("flat: ")) == (0, True), ended.err
    assert time.monotonic() - before < 2 * SECONDS  # with a venue to be started in between
    assert bot.finish().code == -signal.SIGKILL
    replayed = commands.run("replay", journal)
    assert replayed.code == 0, replayed.out + replayed.err

    again = commands.start(*arguments, "--speed", "300")
    again.until(lambda: (beat := read_liveness(journal)) is not None and beat.pid == again.process.pid)
    summary = again.finish(signal.SIGTERM).json
    assert (summary["positions"], summary["venue_positions"], summary["drift"]) == ({}, {}, [])
    assert summary["trading_state"] == "halted"


@pytest.mark.slow
def test_all_of_it_works_where_the_journal_is_a_database(commands: Commands, database: DatabaseUrl) -> None:
    """Halt, resume and watch find the bot by its address; SIGSTOP, then flatten: ended, taken over, closed, told."""
    scene = Scene(commands, database=database)
    scene.until_it_holds()
    assert str(scene.files).startswith(str(commands.home))
    said = commands.run("watch", "--journal", scene.journal, "--once")
    assert (said.code, said.out) == (0, "all is well.\n"), said.err
    said = commands.run("halt", "--reduce", "--journal", scene.journal)
    assert (said.code, "has heard it" in said.out) == (0, True), said.err
    said = commands.run("resume", "--journal", scene.journal)
    assert (said.code, "trades." in said.out) == (0, True), said.err
    scene.until_it_holds()

    scene.bot.process.send_signal(signal.SIGSTOP)
    said_by_flatten = scene.flatten("--reason", "it hangs")
    assert f"the bot (pid {scene.bot.process.pid}) does not answer; it is ended." in said_by_flatten
    assert scene.bot.finish().code == -signal.SIGKILL
    scene.assert_told()
    assert len(epochs(scene.place)) == 2
    said = commands.run("watch", "--journal", scene.journal, "--once")
    assert (said.code, said.out) == (0, "all is well.\n"), said.err

    neighbour = database.address + "_of_somebody_else"
    said = commands.run("halt", "--journal", neighbour)
    assert said.code != 0, "another schema is another journal"
    assert said.err.startswith("holdfast: ")


@pytest.mark.slow
def test_a_bot_that_is_gone_is_closed_from_its_journal(scene: Scene) -> None:
    """SIGKILL: no owner. A resting order and a position are left behind at the venue; flatten finds both."""
    scene.bot.kill()
    assert read_owner(scene.place) is None
    said = scene.flatten()
    assert "does not answer" not in said
    scene.assert_told()


@pytest.mark.slow
def test_positions_that_never_were_ours_stay_unless_all_is_asked_for(scene: Scene) -> None:
    """The venue here has one symbol, so a journal without any trade stands in: nothing there is ours."""
    scene.bot.process.send_signal(signal.SIGSTOP)
    scene.bot.kill()
    fresh = scene.commands.folder / "other"
    bot = scene.commands.start("paper", "--venue", scene.venue.url, "--symbol", SAMPLE_SYMBOL, "--journal", fresh)
    bot.until(lambda: read_liveness(fresh))
    bot.finish(signal.SIGTERM)
    held = scene.positions()

    ended = scene.commands.run("flatten", "--journal", fresh)
    assert ended.code == 0, ended.err
    assert [row["qty"] for row in scene.positions()] == [row["qty"] for row in held]
    assert open_orders(scene.venue.url) != []

    ended = scene.commands.run("flatten", "--journal", fresh, "--all")
    assert ended.code == 0, ended.err
    assert scene.positions() == []
    assert open_orders(scene.venue.url) == []


@pytest.mark.slow
def test_flatten_without_its_venue_is_one_sentence_and_stays_halted(scene: Scene) -> None:
    """Nothing was closed; it says so with a non-zero code, and what was asked for stays in force."""
    scene.bot.kill()
    scene.venue.kill()
    ended = scene.commands.run("flatten", "--journal", scene.journal)
    assert ended.code == 1
    assert ended.err.splitlines()[-1].startswith("holdfast: no venue answers at ")
    assert "Traceback" not in ended.err
    assert scene.halt_file().state == "flatten"


# -- watch ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_watch_finds_a_bot_well_hanging_and_gone(scene: Scene) -> None:
    """One look from a process of its own: exit code 0, then 1 with what is wrong, and the position without an owner."""
    look = ("watch", "--journal", scene.journal, "--once")
    found = scene.commands.run(*look)
    assert (found.code, found.out) == (0, "all is well.\n"), found.err

    watching = scene.commands.start("watch", "--journal", scene.journal, "--every", "1")
    scene.bot.process.send_signal(signal.SIGSTOP)
    watching.until(lambda: "takes no events any more" in watching.out)
    scene.bot.process.send_signal(signal.SIGCONT)
    watching.until(lambda: "over: the bot" in watching.out)
    assert watching.finish(signal.SIGINT).code == 130

    scene.bot.kill()
    found = scene.commands.run(*look)
    assert found.code == 1
    last = found.err.splitlines()[-1]
    assert last.startswith("holdfast: no bot runs: its process ended without an orderly end; ")
    assert f"{SAMPLE_SYMBOL} at the venue have no bot that looks after them" in last
    assert "is open at the venue and no bot looks after it" in last

    scene.flatten()
    found = scene.commands.run(*look)
    assert (found.code, found.out) == (0, "all is well.\n"), found.err


# -- halt and resume -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_halt_is_heard_survives_a_restart_and_is_lifted(scene: Scene) -> None:
    """No order leaves while the file is there; a new run starts halted and says so; resume ends it."""
    said = scene.commands.run("halt", "--journal", scene.journal, "--reason", "news at two")
    assert (said.code, "has heard it" in said.out) == (0, True)
    intents = len(VenueBooks.ask(scene.venue.url).orders)
    beat = scene.beat()
    assert beat is not None
    assert beat.trading_state == "halted"
    scene.bot.finish(signal.SIGTERM)

    again = scene.start("--resume")
    again.until(lambda: "halted  the halt file says halted by " in again.err)
    assert "news at two" in again.err
    again.until(lambda: (beat := scene.beat()) is not None and beat.pid == again.process.pid and beat.heard)
    beat = scene.beat()
    assert beat is not None
    assert beat.trading_state == "halted", "--resume does not go over a halt file"
    assert len(VenueBooks.ask(scene.venue.url).orders) == intents

    said = scene.commands.run("resume", "--journal", scene.journal)
    assert (said.code, "trades." in said.out) == (0, True)
    scene.bot = again
    scene.until_it_holds()
    summary = again.finish(signal.SIGTERM).json
    assert summary["trading_state"] == "active"
    reasons = [
        (record.content.state.value, record.content.reason)
        for record in journal_records(scene.place)
        if isinstance(record.content, TradingStateChanged)
    ]
    assert [state for state, _ in reasons] == ["halted", "halted", "active"]
    assert "news at two" in reasons[0][1]


@pytest.mark.slow
def test_a_halted_bot_that_hung_sends_nothing_when_it_comes_back(scene: Scene) -> None:
    """The file came while it was stopped: the sender finds it before anything leaves."""
    scene.bot.process.send_signal(signal.SIGSTOP)
    said = scene.commands.run("halt", "--journal", scene.journal)
    assert (said.code, "does not answer, but it looks at the halt file" in said.out) == (0, True)
    orders = {order["id"] for order in VenueBooks.ask(scene.venue.url).orders}
    scene.bot.process.send_signal(signal.SIGCONT)
    scene.bot.until(lambda: (beat := scene.beat()) is not None and beat.trading_state == "halted")
    assert {order["id"] for order in VenueBooks.ask(scene.venue.url).orders} == orders


@pytest.mark.slow
def test_reducing_lets_only_exits_leave(scene: Scene) -> None:
    """`halt --reduce`: told to the kernel as REDUCING, kept over a restart."""
    said = scene.commands.run("halt", "--reduce", "--journal", scene.journal)
    assert said.out.startswith("reducing: ")
    beat = scene.beat()
    assert beat is not None
    assert beat.trading_state == "reducing"
    scene.bot.finish(signal.SIGTERM)
    Path(f"{scene.files}.halt").unlink()

    again = scene.start()
    again.until(lambda: (beat := scene.beat()) is not None and beat.pid == again.process.pid)
    beat = scene.beat()
    assert beat is not None
    assert beat.trading_state == "reducing", "a file that somebody took away lifts nothing"
    assert again.finish(signal.SIGTERM).json["trading_state"] == "reducing"


@pytest.mark.slow
def test_a_process_with_the_owners_number_and_another_start_is_left_alone(scene: Scene) -> None:
    """The journal names our own pid with a start that is not ours: nobody is ended, and nobody is taken for the owner."""
    scene.bot.kill()
    lock = Path(f"{scene.files}.lock")
    lock.write_bytes(msgspec.json.encode(msgspec.structs.replace(this_process(), birth="another life")))
    assert read_owner(scene.place) is None
    scene.flatten()


@pytest.mark.slow
def test_bad_input_is_one_sentence(commands: Commands) -> None:
    """A journal that is not there would be a halt that halts nothing."""
    for command in ("halt", "resume", "flatten"):
        ended = commands.run(command, "--journal", commands.folder / "nowhere")
        assert ended.code == 2
        assert "there is no journal" in ended.err
        ended = commands.run(command)
        assert (ended.code, "which journal is meant?" in ended.err) == (2, True)
    assert HaltFile(commands.folder / "nowhere").read() is None
