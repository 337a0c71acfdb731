"""Whatever is wrong with what the user gave: one clear sentence on standard error, a non-zero exit, no traceback."""

from __future__ import annotations

import contextlib
import signal
import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from holdfast.testing.processes import LOCAL_KEYS, Finished, VenueBooks
from tests.e2e.helpers import SAMPLE_SYMBOL, Commands, assert_same_on_both_sides, journal_records, save_waves

HEADER = "timestamp,open,high,low,close,volume\n"
GOOD_ROWS = "2022-01-03T00:00:00Z,10,11,9,10,5\n2022-01-03T00:01:00Z,10,11,9,10,5\n"


class Case(msgspec.Struct, frozen=True):
    """A command that cannot work, and what its sentence must say.

    Attributes:
        arguments: Of ``holdfast``; ``{dir}`` is the test's folder.
        words: All of them are in the sentence; ``{dir}`` as above.
        files: Written first, by name.
        env: On top of a clean environment.
    """

    name: str
    arguments: str
    words: tuple[str, ...]
    files: dict[str, str] = {}
    env: dict[str, str] = {}


def rows(text: str) -> dict[str, str]:
    """A data file of good rows and then these."""
    return {"bars.csv": HEADER + GOOD_ROWS + text}


def strategy(text: str) -> dict[str, str]:
    """A strategy file."""
    return {"mine.py": text}


def config(text: str) -> dict[str, str]:
    """A configuration file."""
    return {"config.toml": text}


BARS = "--data {dir}/bars.csv --symbol BTC/USD"
CASES = (
    # market data
    Case("missing file", "backtest --data {dir}/nothing.csv --symbol SPY", ("{dir}/nothing.csv", "no such file")),
    Case("missing file, paper", "paper --data {dir}/nothing.csv --symbol SPY --once", ("nothing.csv", "no such file")),
    Case(
        "malformed row",
        f"backtest {BARS}",
        ("bars.csv, line 4", "close", "ten"),
        rows("2022-01-03T00:02:00Z,10,11,9,ten,5\n"),
    ),
    Case(
        "malformed row, paper",
        f"paper {BARS} --once --json",
        ("bars.csv, line 4", "columns"),
        rows("2022-01-03T00:02:00Z,10\n"),
    ),
    Case(
        "malformed row, venue",
        f"venue {BARS}",
        ("bars.csv, line 4", "volume"),
        rows("2022-01-03T00:02:00Z,1,1,1,1,-5\n"),
    ),
    Case(
        "negative price",
        f"backtest {BARS}",
        ("line 4", "price is negative"),
        rows("2022-01-03T00:02:00Z,10,11,-9,10,5\n"),
    ),
    Case("time goes back", f"backtest {BARS}", ("line 4",), rows("2022-01-03T00:00:30Z,10,11,9,10,5\n")),
    Case(
        "wrong header",
        f"backtest {BARS}",
        ("line 1", "timestamp,open,high,low,close,volume"),
        {"bars.csv": "a,b\n1,2\n"},
    ),
    Case("empty file", f"backtest {BARS}", ("empty",), {"bars.csv": ""}),
    Case("no symbol", "backtest --data {dir}/bars.csv", ("--symbol",), rows("")),
    Case("data and synthetic", f"backtest {BARS} --synthetic SPY", ("--data or --synthetic",), rows("")),
    # where to trade
    Case("no venue there", "paper --venue http://127.0.0.1:9 --once", ("no venue answers at http://127.0.0.1:9",)),
    Case("venue and data", f"paper {BARS} --venue http://127.0.0.1:9", ("--venue", "--data"), rows("")),
    Case("bad speed", "paper --speed quick --once", ("--speed", "'quick'", "positive number or max")),
    Case("speed of nothing", "paper --speed 0 --once", ("--speed", "positive number or max")),
    Case("no scenario", "venue --scenario {dir}/night.toml", ("the scenario {dir}/night.toml cannot be read",)),
    Case(
        "bad scenario",
        "venue --scenario {dir}/night.toml",
        ("the scenario {dir}/night.toml", "faults[0]", "there is no effect 'sabotage'", "expected one of"),
        {"night.toml": "[[faults]]\neffect = 'sabotage'\n"},
    ),
    Case("bad venue speed", "venue --speed -3", ("--speed", "positive number or max")),
    Case(
        "journal in a file",
        "paper --journal {dir}/bars.csv/journal --speed max --once",
        ("{dir}/bars.csv/journal",),
        rows(""),
    ),
    # configuration
    Case(
        "missing configuration", "backtest --config {dir}/config.toml", ("no configuration file", "{dir}/config.toml")
    ),
    Case("invalid TOML", "backtest --config {dir}/config.toml", ("config.toml is not TOML",), config("[risk\n")),
    Case(
        "unknown key",
        "backtest --config {dir}/config.toml",
        ("risk.max_ordr", "no such setting"),
        config("[risk]\nmax_ordr = 1\n"),
    ),
    Case(
        "bad value",
        "backtest --config {dir}/config.toml",
        ("risk.max_open_orders", "integer"),
        config("[risk]\nmax_open_orders = 'few'\n"),
    ),
    Case("bad choice", "paper --open-orders keep --once", ("shutdown.open_orders", "'cancel' or 'leave'")),
    Case("unknown protection", "backtest --config {dir}/config.toml", ("hope",), config("[protections.hope]\nx = 1\n")),
    Case(
        "bad protection value",
        "backtest --config {dir}/config.toml",
        ("stoploss_guard", "max_stoplosses"),
        config("[protections.stoploss_guard]\nmax_stoplosses = 'x'\n"),
    ),
    Case("bad environment", "backtest", ("risk.max_open_orders",), env={"HOLDFAST_RISK__MAX_OPEN_ORDERS": "many"}),
    Case("short token", "paper --speed max --once", ("token",), env={"HOLDFAST_STATUS__TOKEN": "x"}),
    # strategies
    Case("bad param", "backtest --param deviations", ("--param 'deviations'", "name=value")),
    Case("unknown param", "backtest --param hope=1", ("VwapMeanReversion", "hope")),
    Case("param out of range", "backtest --param deviations=-1", ("deviations", "above 0")),
    Case("param of another kind", "backtest --param deviations=much", ("VwapMeanReversion", "deviations")),
    Case("no strategy file", "backtest --strategy {dir}/mine.py:Mine", ("no strategy file", "{dir}/mine.py")),
    Case(
        "no such class",
        "backtest --strategy {dir}/mine.py:Mine",
        ("no subclass of Strategy named Mine",),
        strategy("X = 1\n"),
    ),
    Case(
        "not a strategy",
        "backtest --strategy {dir}/mine.py:Mine",
        ("no subclass of Strategy named Mine",),
        strategy("class Mine: pass\n"),
    ),
    Case(
        "raises in lines",
        "backtest --strategy {dir}/mine.py:Mine",
        ("raised ValueError in on_bar", "mine.py:4): first second"),
        strategy(
            "from holdfast.strategies import Strategy\nclass Mine(Strategy):\n    def on_bar(self, bar):\n"
            "        raise ValueError('first\\nsecond')\n"
        ),
    ),
    Case(
        "raises at import",
        "backtest --strategy {dir}/mine.py:Mine",
        ("mine.py", "ZeroDivisionError"),
        strategy("1 / 0\n"),
    ),
    Case("syntax error", "backtest --strategy {dir}/mine.py:Mine", ("mine.py", "SyntaxError"), strategy("def\n")),
    Case(
        "exits at import",
        "backtest --strategy {dir}/mine.py:Mine",
        ("mine.py", "SystemExit"),
        strategy("raise SystemExit(3)\n"),
    ),
    Case("no such module", "backtest --strategy nowhere.at_all:Mine", ("nowhere",)),
    Case("no form", "backtest --strategy Mine", ("FILE.py:Class",)),
    # the rest
    Case("no bot to ask", "status", ("no bot was started here", "--url")),
    Case(
        "nobody answers",
        "status --url http://127.0.0.1:9 --token 0123456789abcdef0123456789abcdef",
        ("no bot answers",),
    ),
    Case("bad cash", "backtest --cash much", ("--cash", "much")),
    Case("cash of nan", "backtest --cash nan", ("cash",)),
    Case("negative participation", "backtest --participation -1", ("--participation",)),
    Case("participation beyond all", "backtest --participation 7", ("participation",)),
    Case("unknown option", "backtest --hope", ("--hope",)),
    Case("unknown command", "hope", ("hope",)),
    Case(
        "live, unconfirmed",
        "live --symbol SPY",
        ("account.live_confirmed", "--i-accept-real-orders"),
        env={"APCA_API_KEY_ID": "k", "APCA_API_SECRET_KEY": "s"},
    ),
    Case("live, only on the command line", "live --symbol SPY --i-accept-real-orders", ("account.live_confirmed",)),
    Case(
        "live, only in the configuration",
        "live --symbol SPY --config {dir}/config.toml",
        ("--i-accept-real-orders",),
        config("[account]\nlive_confirmed = true\n"),
    ),
    Case(
        "live without symbols",
        "live --i-accept-real-orders --config {dir}/config.toml",
        ("strategy.symbols",),
        config("[account]\nlive_confirmed = true\n"),
    ),
    Case(
        "live without keys",
        "live --symbol SPY --i-accept-real-orders --config {dir}/config.toml",
        ("APCA_API_KEY_ID",),
        config("[account]\nlive_confirmed = true\n"),
    ),
)


def assert_one_sentence(ended: Finished, *words: str) -> None:
    """It failed, and said why in one line that holds these words."""
    assert ended.code not in {0, -signal.SIGKILL}
    assert "Traceback" not in ended.err, ended.err
    assert ended.out == ""
    said = [line for line in ended.err.splitlines() if line.startswith("holdfast: ")]
    if said:
        assert len(said) == 1, ended.err
        assert ended.err.splitlines()[-1] == said[0], ended.err
    else:
        # The command line's own grammar: usage, then the sentence.
        assert ended.code == 2, ended.err
        assert ended.err.startswith("Usage: ")
        said = [ended.err]
    for word in words:
        assert word in said[0], ended.err


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-").replace(",", ""))
def test_what_cannot_be_done_is_told_in_one_sentence(case: Case, commands: Commands) -> None:
    """Which thing, where, what was expected; the exit code is not zero."""
    for name, text in case.files.items():
        (commands.folder / name).write_text(text)
    arguments = [part.format(dir=commands.folder) for part in case.arguments.split()]
    ended = commands.run(*arguments, env=case.env)
    assert_one_sentence(ended, *(word.format(dir=commands.folder) for word in case.words))


# -- what needs something else that runs ----------------------------------------------------------


def hour(commands: Commands) -> list[object]:
    """An hour of a calm market."""
    return ["--data", save_waves(commands.folder / "waves.csv", 60), "--symbol", SAMPLE_SYMBOL]


def test_a_symbol_that_the_venue_does_not_have(commands: Commands) -> None:
    """Named, before anything is traded."""
    venue = commands.venue(*hour(commands))
    ended = commands.run("paper", "--venue", venue.url, "--symbol", "DOGE/USD", "--once", "--json")
    assert_one_sentence(ended, "does not know the symbol 'DOGE/USD'")


def test_an_equity_that_the_venue_does_not_have(commands: Commands) -> None:
    """The same for a share, on a venue that moves by itself."""
    venue = commands.venue(*hour(commands), "--speed", "300")
    ended = commands.run("paper", "--venue", venue.url, "--symbol", "SPYY", "--once", "--json")
    assert_one_sentence(ended, "does not know the symbol 'SPYY'")


@pytest.mark.parametrize("speed", ["max", "300"])
def test_wrong_keys(commands: Commands, speed: str) -> None:
    """A key whose account was opened with another secret."""
    venue = commands.venue(*hour(commands), "--speed", speed)
    keys = {**LOCAL_KEYS, "APCA-API-SECRET-KEY": "another"}
    httpx.get(venue.url + "/v2/account", headers=keys, trust_env=False).raise_for_status()
    ended = commands.run("paper", "--venue", venue.url, "--once", "--json")
    assert_one_sentence(ended, "keys")


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    """A port of this machine on which somebody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("option", ["--port", "--admin-port"])
def test_a_port_of_the_venue_in_use(commands: Commands, option: str) -> None:
    """Named, with what to do."""
    with taken_port() as port:
        assert_one_sentence(commands.run("venue", *hour(commands), option, port), f"127.0.0.1:{port}", "another port")


def test_the_status_port_in_use(commands: Commands) -> None:
    """Named; and the venue that was started for the bot is gone too."""
    with taken_port() as port:
        arguments = ["--speed", "max", "--once", "--status-port", port]
        assert_one_sentence(commands.run("paper", *hour(commands), *arguments), str(port))


def test_a_second_runner_on_the_same_journal(commands: Commands) -> None:
    """Refused with the owner's process id; the first goes on."""
    journal = commands.folder / "journal"
    first = commands.start("paper", *hour(commands), "--speed", "max", "--journal", journal, "--json")
    first.status_url()
    venue = commands.venue(*hour(commands))
    arguments = ["--venue", venue.url, "--once", "--journal", journal]
    assert_one_sentence(commands.run("paper", *arguments), str(journal), f"pid {first.process.pid}")
    assert first.finish(signal.SIGINT).json["drift"] == []


def test_a_second_bot_on_the_same_venue_and_key(commands: Commands) -> None:
    """A venue in lock-step has one driver: the second is told, the first goes on."""
    venue = commands.venue(*hour(commands))
    first = commands.start("paper", "--venue", venue.url, "--json")
    first.status_url()
    first.until(lambda: venue_done(venue.url))
    assert_one_sentence(commands.run("paper", "--venue", venue.url, "--once", "--json"), "another driver")
    assert first.finish(signal.SIGINT).json["bars"] == 60


def venue_done(url: str) -> bool:
    """Whether the recorded market has ended there."""
    return bool(httpx.get(url + "/", trust_env=False).json()["done"])


def flip_a_byte(journal: Path) -> None:
    """In the payload of a record in the middle."""
    with contextlib.closing(sqlite3.connect(journal)) as database:
        seq, payload = database.execute("SELECT seq, payload FROM records WHERE seq = 5").fetchone()
        broken = bytes([payload[0], payload[1] ^ 0x40, *payload[2:]])
        database.execute("UPDATE records SET payload = ? WHERE seq = ?", (broken, seq))
        database.commit()


def drop_a_record(journal: Path) -> None:
    """One in the middle."""
    with contextlib.closing(sqlite3.connect(journal)) as database:
        database.execute("DELETE FROM records WHERE seq = 5")
        database.commit()


def overwrite(journal: Path) -> None:
    """With something that is no database."""
    journal.write_bytes(b"these are not the records that you are looking for\n" * 100)


def use_another_database(journal: Path) -> None:
    """One that somebody else made."""
    journal.unlink()
    with contextlib.closing(sqlite3.connect(journal)) as database:
        database.execute("CREATE TABLE notes (text TEXT)")
        database.commit()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip_a_byte, "journal record 5"),
        (drop_a_record, "journal record 5 is missing"),
        (overwrite, "cannot be used as a journal"),
        (use_another_database, "no journal of Holdfast"),
    ],
)
def test_a_damaged_journal(commands: Commands, damage: Callable[[Path], None], words: str) -> None:
    """Nothing is traded on it; the place is named; nothing in it is changed. Without snapshots: they would spare the old records."""
    journal = commands.folder / "journal"
    venue = commands.venue(*hour(commands))
    whole = {"HOLDFAST_JOURNAL__SNAPSHOT_EVERY": "0"}
    commands.run("paper", "--venue", venue.url, "--once", "--json", "--journal", journal, env=whole)
    damage(journal)
    before = journal.read_bytes()
    assert_one_sentence(
        commands.run("paper", "--venue", venue.url, "--once", "--json", "--journal", journal), words, str(journal)
    )
    assert journal.read_bytes() == before


RAISES_IN_MID_RUN = """
from holdfast.strategies import Strategy

class Mine(Strategy):
    def on_start(self):
        self.seen = 0

    def on_bar(self, bar):
        self.seen += 1
        if self.seen % 5 == 1 and self.view(bar.symbol).flat:
            self.buy(bar.symbol, notional=3000, reason="up")
        elif self.seen % 5 == 3:
            self.exit(bar.symbol, reason="down")
        {flaw}
"""


@pytest.mark.slow
@pytest.mark.parametrize(("speed", "least"), [("max", 6), ("1200", 1)])
def test_a_strategy_that_raises_loses_nothing(commands: Commands, speed: str, least: int) -> None:
    """Its place is named; the journal keeps everything; the mended strategy goes on from there with equal books.

    A market that does not wait goes on while the bot is down: how much of it is left to trade is the machine's affair.
    """
    journal, source = commands.folder / "journal", commands.folder / "mine.py"
    source.write_text(RAISES_IN_MID_RUN.format(flaw="if self.seen == 33: self.missing += 1"))
    venue = commands.venue(*hour(commands), "--speed", speed)
    arguments = [
        "paper",
        "--venue",
        venue.url,
        "--strategy",
        f"{source}:Mine",
        "--journal",
        journal,
        "--once",
        "--json",
    ]

    ended = commands.run(*arguments)
    assert_one_sentence(ended, "Mine", "AttributeError", "on_bar", f"{source}:", "missing")
    assert len(journal_records(journal)) > 33

    source.write_text(RAISES_IN_MID_RUN.format(flaw=""))
    summary = commands.run(*arguments).json
    assert summary["bars"] == 60
    assert len(summary["orders"]) >= least
    assert_same_on_both_sides(summary, VenueBooks.ask(venue.url), journal)


def test_a_strategy_that_raises_in_a_backtest(commands: Commands) -> None:
    """The same sentence."""
    source = commands.folder / "mine.py"
    source.write_text(RAISES_IN_MID_RUN.format(flaw="raise ValueError('no good')"))
    ended = commands.run("backtest", *hour(commands), "--strategy", f"{source}:Mine")
    assert_one_sentence(ended, "Mine", "ValueError", "on_bar", "no good")
