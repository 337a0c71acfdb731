"""Processes killed with SIGKILL while they trade, and what the two sides say afterwards (P1 to P4).

    python -m holdfast.testing.kills --kills 200 --seed 7

    who       what is killed                    what goes on                         how the session runs
    bot       the bot, started again            the venue                            lock-step
    both      the bot, started again, and its   nothing: both begin from their       lock-step
              own venue with it                 files
    venue     the venue, started again on its   the bot: it reconnects, fetches      at --speed times real time
              book and port                     what it missed and trades on
    database  the PostgreSQL server of the      the venue, and the bot: it settles   at --speed times real time
              journal, started again            what was on its way and trades on

While a venue is dead the bot's clock runs on, and then stands still until the venue's time has caught up. So the session
runs at a pace at which the venue lives, on the average, longer than a restart takes.

The seed decides every moment. A moment is a place of the replayed session, and not a second: the harness watches the
venue's time from outside and kills when it has come so far, so that every kill hits somebody who is trading, on a quick
machine and on a busy one. Between which two instructions it hits is chance. Of the bot's kills some hit the start
instead: recovery, connecting, backfill.

What is checked at the end looks at the venue's REST API, the journal and the bot's summary: see ``complaints``.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from holdfast.data import read_bars, write_bars
from holdfast.di.companions import companion_name
from holdfast.journal import JournalReader, Record
from holdfast.journal.places import to_place
from holdfast.model import OrderIntent
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.runner.liveness import read_liveness
from holdfast.samples import path as sample_path
from holdfast.testing.checks import journaled_intents
from holdfast.testing.postgres import PostgresServer, own_server, why_no_server
from holdfast.testing.processes import Command, ProcessFailedError, VenueBooks, VenueProcess, venue_state

SYMBOL = "BTC/USD"
WHO = ("bot", "both", "venue", "database")
_AT_SPEED = frozenset({"venue", "database"})
_LADDER = ("--strategy", "holdfast.testing.ladder:Ladder", "--param", "patience=2", "--param", "hold=5")
# Guards are not the subject: a price that is old because its venue was dead, and a pause after each trade, would leave
# nothing to kill in. Snapshots often, so that most restarts begin with one.
_SETTINGS = {
    "HOLDFAST_RISK__MAX_DATA_AGE": "1000000",
    "HOLDFAST_PROTECTIONS": '{"cooldown_period": false}',
    "HOLDFAST_JOURNAL__SNAPSHOT_EVERY": "100",
}
_PARTICIPATION = "0.002"  # a bar fills a part of an order only: more executions, more that is in flight
_ROWS_PER_KILL, _ROWS_MAX = 45, 2_880
_LIFE_SECONDS = 6.0
_AT_START = 5  # one of so many kills of the bot hits its start
_OUTLASTS = 8  # one of so many absences of the database outlasts the bot's patience
_LOST = "did not come back within"
_NOT_SENT = frozenset({"never_sent", "rejected", "dropped"})

Say = Callable[[str], None]
_P = TypeVar("_P", bound=Command)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the harness.

    Attributes:
        who: Who is killed: see the module.
        kills: How often. Of a database that is killed less often than eight times, no absence outlasts the bot's patience.
        seed: Decides when.
        folder: Where everything is kept; empty.
        journal: Where the bot writes, as ``--journal`` takes it; None is a file in the folder. A database that is killed is
            the harness's own.
        speed: Of the session in which the venue or the database is killed (times real time); None lets them live six seconds on the average.
    """

    who: str
    kills: int
    seed: int
    folder: Path
    journal: str | None = None
    speed: float | None = None

    @property
    def place(self) -> str:
        """Where the bot writes."""
        return self.journal or str(self.folder / "journal")

    @property
    def files(self) -> Path:
        """Where the bot, and a venue that it starts, keep their files: ``.alive``, ``.venue``."""
        place = to_place(self.place)
        return place if isinstance(place, Path) else self.folder / "home" / companion_name(place)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of the harness came to."""

    orders: int
    fills: int
    never_sent: int
    complaints: tuple[str, ...]


def run(plan: Plan, say: Say) -> Outcome:
    """Kill as planned, let the session end, and look at what is left.

    Raises:
        ProcessFailedError: A process ended by itself, or never got where it should.
    """
    rng = np.random.default_rng(plan.seed)
    bars = read_bars(sample_path(), SYMBOL).slice(0, min(_ROWS_MAX, _ROWS_PER_KILL * max(plan.kills, 4)))
    # The moments fill three quarters of the session on the average: the last run has the rest to itself. The market goes
    # on while the database is away and the bot starts again, which takes nearly as long as what lies between.
    farthest = max(4, round((1.0 if plan.who == "database" else 1.5) * len(bars) / plan.kills))
    hops = [int(hop) * bars.period for hop in rng.integers(2, farthest, plan.kills)]
    data = plan.folder / "bars.csv.gz"
    write_bars(bars, data)
    market: list[object] = ["--data", data, "--symbol", SYMBOL, "--participation", _PARTICIPATION]
    if plan.who in _AT_SPEED:
        mean_seconds = sum(hops) / len(hops) / NS_PER_SECOND
        market += ["--speed", plan.speed or max(1, round(mean_seconds / _LIFE_SECONDS))]
    if plan.who != "database":
        return _judged(plan, market, say, len(bars), lambda session: session.run(hops, rng))
    with own_server() as server:
        plan = msgspec.structs.replace(plan, journal=server.url().address)
        return _judged(plan, market, say, len(bars), lambda session: session.kill_databases(hops, rng, server))


def _judged(
    plan: Plan,
    market: list[object],
    say: Say,
    bars: int,
    work: Callable[[_Session], tuple[dict[str, Any], VenueBooks]],
) -> Outcome:
    session = _Session(plan, market, say)
    try:
        summary, books = work(session)
        found = [*complaints(summary, books, read_records(plan.place)), *session.replay()]
    finally:
        session.clean_up()
    if summary["bars"] != bars:
        found.append(f"the bot saw {summary['bars']} bars of {bars}")
    at_venue = {order["client_order_id"] for order in books.orders}
    return Outcome(
        orders=len(books.orders),
        fills=len(books.fills),
        never_sent=sum(order["id"] not in at_venue for order in summary["orders"]),
        complaints=tuple(found),
    )


class _Session:
    """The processes of one run."""

    def __init__(self, plan: Plan, market: list[object], say: Say) -> None:
        self._plan, self._market, self._say = plan, market, say
        self._running: list[Command] = []
        self._count = 0

    def clean_up(self) -> None:
        """End whatever still runs."""
        for running in self._running:
            if not running.has_ended:
                running.kill()

    def run(self, hops: Sequence[int], rng: np.random.Generator) -> tuple[dict[str, Any], VenueBooks]:
        """Kill whom the plan says."""
        return self.kill_venues(hops, rng) if self._plan.who == "venue" else self.kill_bots(hops, rng)

    def replay(self) -> Iterator[str]:
        """P8: the journal, however often its writer was killed, gives every command and every hash of the state again."""
        replaying = self._kept(Command(self._plan.folder, self._name("replay"), ["replay", self._plan.place]))
        code = replaying.finish().code
        if code:
            yield f"holdfast replay ended with {code}: {replaying.out}{replaying.err}"

    # -- the bot dies ---------------------------------------------------------------------------

    def kill_bots(self, hops: Sequence[int], rng: np.random.Generator) -> tuple[dict[str, Any], VenueBooks]:
        """Kill the bot at each moment, and let the last one trade to the end."""
        own_venue = self._plan.who == "both"
        place = [*self._market, "--speed", "max"] if own_venue else ["--venue", self._venue(0).url, "--symbol", SYMBOL]
        for number, hop in enumerate(hops, 1):
            bot = self._bot(place)
            if number > 1 and rng.integers(_AT_START) == 0:
                looks = int(rng.integers(5, 40))
                for _ in range(looks):
                    bot.tick()
                if bot.has_ended:
                    message = f"the bot ended by itself; it said: {bot.err[-2_000:]}"
                    raise ProcessFailedError(message)
                what = "at its start"
            else:
                url = bot.until(lambda bot=bot: bot.word_after("built-in venue at "))  # type: ignore[misc]  # bound here
                what = f"after {self._wait_for(bot, url, hop)} s of the session"
            bot.kill()
            self._say(f"kill {number}: the bot, {what}")
        summary = self._bot(place).end()
        url = self._venue(0).url if own_venue else str(place[1])
        return summary, VenueBooks.ask(url)

    # -- the venue dies -------------------------------------------------------------------------

    def kill_venues(self, hops: Sequence[int], rng: np.random.Generator) -> tuple[dict[str, Any], VenueBooks]:
        """Kill the venue at each moment under one bot, which trades to the end."""
        venue = self._venue(0)
        port = venue.port
        bot = self._bot(["--venue", venue.url, "--symbol", SYMBOL])
        for number, hop in enumerate(hops, 1):
            passed = self._wait_for(bot, venue.url, hop)
            venue.kill()
            pause = int(rng.integers(0, 60))
            for _ in range(pause):
                bot.tick()
            self._say(f"kill {number}: the venue, after {passed} s of the session")
            venue = self._venue(port)
        summary = bot.end()
        return summary, VenueBooks.ask(venue.url)

    # -- the database dies ----------------------------------------------------------------------

    def kill_databases(
        self, hops: Sequence[int], rng: np.random.Generator, server: PostgresServer
    ) -> tuple[dict[str, Any], VenueBooks]:
        """Crash the journal's server at each moment under a bot, which waits for it, or stops and is started again."""
        venue = self._venue(0)
        place = ["--venue", venue.url, "--symbol", SYMBOL]
        bot = self._trading_bot(place)
        for number, hop in enumerate(hops, 1):
            passed = self._wait_for(bot, venue.url, hop)
            server.stop("immediate")
            outlasts = self._plan.kills >= _OUTLASTS and rng.integers(_OUTLASTS) == 0
            pause = int(rng.integers(0, 60))
            for _ in range(pause):
                bot.tick()
            if outlasts:
                bot.finish()
            server.start()
            self._say(f"kill {number}: the database, after {passed} s of the session")
            # A machine that is too busy for our start makes it wait in vain as well.
            if bot.has_ended:
                if bot.out:
                    message = f"the session was over before kill {number}: expected a lower --speed, or fewer --kills"
                    raise ProcessFailedError(message)
                if _LOST not in bot.err or "Traceback" in bot.err:
                    message = f"the bot did not stop with a sentence; it said: {bot.err[-2_000:]}"
                    raise ProcessFailedError(message)
                bot = self._trading_bot(place)
        return bot.end(), VenueBooks.ask(venue.url)

    def _trading_bot(self, place: Sequence[object]) -> Command:
        """A run that has begun: whoever starts without its database is refused, and has nothing to lose."""
        bot = self._bot(place)

        def is_at_work() -> bool:
            beat = read_liveness(self._plan.files)
            return beat is not None and beat.pid == bot.process.pid

        bot.until(is_at_work)
        return bot

    # -- inside ---------------------------------------------------------------------------------

    def _wait_for(self, bot: Command, url: str, hop: int) -> int:
        """Until the session has gone so far under this process (ns), or is over; how far it has gone (s)."""
        start = bot.until(lambda: venue_state(url))["now_ns"]

        def passed() -> int | None:
            state = venue_state(url)
            if state is None:
                return None
            since = state["now_ns"] - start
            return max(since, 1) if since >= hop or state["done"] else None

        return bot.until(passed) // NS_PER_SECOND

    def _venue(self, port: int) -> VenueProcess:
        book = Path(f"{self._plan.files}.venue") if self._plan.who == "both" else self._plan.folder / "book"
        arguments = [*self._market, "--book", book, *(["--port", port] if port else [])]
        return self._kept(VenueProcess(self._plan.folder, self._name("venue"), arguments))

    def _bot(self, place: Sequence[object]) -> Command:
        arguments = ["paper", *place, *_LADDER, "--journal", self._plan.place, "--once", "--json"]
        return self._kept(Command(self._plan.folder, self._name("bot"), arguments, _SETTINGS))

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{self._count:04}-{kind}"

    def _kept(self, running: _P) -> _P:
        self._running.append(running)
        return running


# -- what must hold afterwards --------------------------------------------------------------------


def read_records(place: str) -> list[Record]:
    """All records of a journal that nobody owns any more."""
    with JournalReader(place) as journal:
        return list(journal.records())


def complaints(summary: Mapping[str, Any], venue: VenueBooks, records: Iterable[Record]) -> list[str]:
    """P2, P3 and P4, seen from outside: intents, orders, executions, positions and cash. Empty where all is well.

    Args:
        summary: What ``holdfast paper --json`` printed at its end.
        venue: The venue's books, asked for after it.
        records: The journal.
    """
    intents = journaled_intents(records)
    return [
        *_about_books(summary, venue),
        *_about_orders(summary, venue, intents),
        *_about_executions(summary, venue),
    ]


def _about_books(summary: Mapping[str, Any], venue: VenueBooks) -> Iterator[str]:
    for finding in ("drift", "orphans", "shadows"):
        if summary[finding]:
            yield f"the bot's own comparison found {finding}: {summary[finding]}"
    if not summary["compared"]:
        yield "the bot's last comparison had no answer"
    if summary["trading_state"] != "active":
        yield f"trading is {summary['trading_state']}"
    ours = {symbol.replace("/", ""): quantity for symbol, quantity in summary["positions"].items()}
    theirs = {symbol: _plain(quantity) for symbol, quantity in venue.positions.items()}
    if ours != theirs:
        yield f"positions differ: ours {ours}, the venue's {theirs}"
    if summary["cash"] != _plain(venue.cash):
        yield f"cash differs: ours {summary['cash']}, the venue's {_plain(venue.cash)}"


def _about_orders(summary: Mapping[str, Any], venue: VenueBooks, intents: Mapping[str, OrderIntent]) -> Iterator[str]:
    ours = {order["id"]: order for order in summary["orders"]}
    at_venue = Counter(order["client_order_id"] for order in venue.orders)
    known = dict.fromkeys([*intents, *at_venue])
    yield from (f"order {name} is at the venue {times} times" for name, times in at_venue.items() if times > 1)
    for order in venue.orders:
        name = order["client_order_id"]
        intent, own = intents.get(name), ours.get(name)
        if intent is None:
            yield f"order {name} at the venue is no journaled intent"
        elif (order["side"], Decimal(order["qty"])) != (intent.side.value, intent.quantity):
            yield f"order {name} at the venue is not what was meant: {order['side']} {order['qty']}, {intent}"
        if own is not None and (own["status"], own["filled"]) != (order["status"], _plain(order["filled_qty"])):
            yield (
                f"order {name} is {order['status']} with {order['filled_qty']} at the venue, "
                f"and {own['status']} with {own['filled']} here"
            )
    yield from (f"order {name} of the journal or the venue is unknown to the bot" for name in known if name not in ours)
    for name in intents:
        own = ours.get(name)
        if own is not None and name not in at_venue and not (own["status"] in _NOT_SENT and own["evidence"]):
            yield f"intent {name} is not at the venue and not closed with evidence: {own['status']} ({own['evidence']})"


def _about_executions(summary: Mapping[str, Any], venue: VenueBooks) -> Iterator[str]:
    told = Counter(fill["id"].rpartition("::")[2] for fill in venue.fills)
    counted = Counter(fill["id"] for fill in summary["fills"])
    for name, times in counted.items():
        if times > 1:
            yield f"execution {name} was counted {times} times"
    for name in told:
        if name not in counted:
            yield f"execution {name} of the venue was lost"
    for name in counted:
        if name not in told:
            yield f"execution {name} was counted, and the venue has none such"


def _plain(amount: str) -> str:
    return amount.rstrip("0").rstrip(".") if "." in amount else amount


# -- the command ----------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, and say what came of it; 0 where nothing is to be complained of."""
    parser = argparse.ArgumentParser(
        prog="python -m holdfast.testing.kills", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--kills", type=int, default=200, help="how often, for each of those who are killed")
    parser.add_argument("--seed", type=int, help="decides every moment; one is made up and printed where none is given")
    parser.add_argument("--who", choices=(*WHO, "all"), default="all", help="who is killed")
    parser.add_argument(
        "--journal", help="where the bot writes (with --who bot, both or venue); default: a file of its own"
    )
    parser.add_argument(
        "--speed", type=float, help="of the session in which venue or database is killed (times real time)"
    )
    parser.add_argument("--keep", type=Path, help="an empty folder in which everything is left to look at")
    options = parser.parse_args(arguments)
    if options.kills < 1:
        parser.error("--kills: expected one at least")
    if options.journal is not None and options.who in {"all", "database"}:
        parser.error("--journal is the place of one run: expected --who bot, both or venue with it")
    seed = secrets.randbits(32) if options.seed is None else options.seed
    _say(f"seed {seed}")
    failed = False
    with tempfile.TemporaryDirectory(prefix="holdfast-kills-") as temporary:
        for who in WHO if options.who == "all" else (options.who,):
            if who == "database" and options.who == "all" and (reason := why_no_server()):
                _say(f"{who}: left out: {reason}")
                continue
            folder = Path(options.keep or temporary).resolve() / who
            folder.mkdir(parents=True)
            plan = Plan(
                who=who, kills=options.kills, seed=seed, folder=folder, journal=options.journal, speed=options.speed
            )
            failed |= not _report(plan)
    return int(failed)


def _report(plan: Plan) -> bool:
    try:
        outcome = run(plan, _say)
    except ProcessFailedError as error:
        _say(f"{plan.who}: FAILED: {error}")
        return False
    _say(
        f"{plan.who}: {plan.kills} kills, {outcome.orders} orders, {outcome.fills} fills, {outcome.never_sent} never sent, "
        f"{len(outcome.complaints)} complaints"
    )
    for complaint in outcome.complaints:
        _say(f"  {complaint}")
    return not outcome.complaints


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
