"""What somebody who looks from outside finds, tells once, and takes back; for each row of its table."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from holdfast.journal import DatabaseUrl, Owner, SqliteJournal
from holdfast.journal.owner import lock_path, this_process
from holdfast.model import BrokerPosition, OrderReport, OrderSide, OrderStatus
from holdfast.model.errors import BrokerRefusedError, JournalError
from holdfast.runner.liveness import Liveness, liveness_path, write_liveness
from holdfast.runner.watch import SILENCE_SECONDS, Books, Watch
from holdfast.testing import RecordingAlerts
from holdfast.time import RealTimeClock

NOTHING = Books({}, ())


class _Enough(Exception):  # noqa: N818 - no error: a test has seen enough
    """Ends an endless loop."""


class Venue:
    """Holds what a test says."""

    def __init__(self) -> None:
        self.positions: dict[str, str] = {}
        self.orders: list[str] = []
        self.fails = False

    async def fetch_positions(self) -> tuple[BrokerPosition, ...]:
        """All positions."""
        if self.fails:
            message = "GET /v2/positions: the venue failed"
            raise BrokerRefusedError(message, status=503)
        return tuple(
            BrokerPosition(symbol=s, quantity=Decimal(q), avg_entry_price=Decimal(1)) for s, q in self.positions.items()
        )

    async def fetch_open_orders(self) -> tuple[OrderReport, ...]:
        """All open orders."""
        return tuple(
            OrderReport(
                broker_id=f"b-{name}",
                client_order_id=name,
                symbol="SPY",
                side=OrderSide.BUY,
                status=OrderStatus.NEW,
                quantity=Decimal(1),
            )
            for name in self.orders
        )


class Scene:
    """A journal that this process owns, a bot's last word, a venue, and who looks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.venue = Venue()
        self.alerts = RecordingAlerts()
        self.journaled = NOTHING
        self.health = 200
        self.journal: SqliteJournal | None = SqliteJournal(path)
        self.watch = Watch(
            path,
            self.venue,
            self._books,
            self.alerts,
            token="a-token",
            transport=httpx.MockTransport(lambda request: httpx.Response(self._health(request))),
        )
        self.beat()

    def beat(self, *, age: float = 0.0, **changes: Any) -> None:
        """What the bot said, so many seconds ago."""
        me = this_process()
        said = Liveness(
            pid=me.pid,
            birth=me.birth,
            host=me.host,
            at=RealTimeClock().now_ns() - int(age * 1e9),
            trading_state="active",
        )
        write_liveness(liveness_path(self.path), msgspec.structs.replace(said, **changes))

    def die(self) -> None:
        """The process is gone."""
        if self.journal is not None:
            self.journal.close()
        self.journal = None

    async def kinds(self) -> list[str]:
        """Of the findings of one look."""
        return [finding.kind for finding in await self.watch.look()]

    def _books(self) -> Books:
        return self.journaled

    def _health(self, request: httpx.Request) -> int:
        assert (request.url.path, request.headers["Authorization"]) == ("/healthz", "Bearer a-token")
        return self.health


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """All is well."""
    found = Scene(tmp_path / "journal")
    yield found
    found.die()


async def test_all_is_well(scene: Scene) -> None:
    """The bot beats, its books are the venue's: nothing is said."""
    scene.beat(positions={"SPY": "10"}, open_orders=("x",), status_url="http://127.0.0.1:1")
    scene.venue.positions, scene.venue.orders = {"SPY": "10.0"}, ["x"]

    assert [await scene.kinds() for _ in range(3)] == [[], [], []]
    assert scene.alerts.titles() == []


async def test_a_silent_bot_is_told_once_and_its_return_too(scene: Scene) -> None:
    """The process lives and its runner takes nothing."""
    scene.beat(age=SILENCE_SECONDS + 1)
    assert [await scene.kinds() for _ in range(3)] == [["silent"]] * 3
    scene.beat()
    assert await scene.kinds() == []

    said = f"the bot (pid {this_process().pid}) takes no events any more"
    assert scene.alerts.titles("system") == [said, f"over: {said}"]


async def test_a_bot_at_its_start_has_until_the_second_look(scene: Scene) -> None:
    """Another process beat last: this one recovers, perhaps."""
    scene.beat(pid=1)
    assert await scene.kinds() == []
    assert await scene.kinds() == ["starting"]


@pytest.mark.parametrize("left", [False, True])
async def test_a_bot_that_is_gone(scene: Scene, *, left: bool) -> None:
    """Found at the first look; and what it leaves behind at the venue has nobody."""
    scene.die()
    scene.journaled = Books({"SPY": Decimal(10)}, ("x",), "j") if left else NOTHING
    if left:
        scene.venue.positions, scene.venue.orders = {"SPY": "10", "QQQ": "1"}, ["x", "j-7f-9", "a-person's"]
    found = await scene.kinds()

    assert found == (["gone", "ownerless", "ownerless", "ownerless"] if left else ["gone"])
    if left:
        assert scene.alerts.titles("order-drift") == [
            "10 SPY at the venue have no bot that looks after them",
            "an order in SPY is open at the venue and no bot looks after it",
            "an order in SPY is open at the venue and no bot looks after it",
        ]


async def test_an_orderly_end_is_nothing_unless_it_leaves_something(scene: Scene) -> None:
    """Somebody stopped it; a position is told all the same."""
    scene.die()
    scene.beat(age=1000, ended=True)
    assert await scene.kinds() == []
    scene.journaled, scene.venue.positions = Books({"SPY": Decimal(10)}, ()), {"SPY": "10"}
    assert await scene.kinds() == ["ownerless"]


async def test_books_that_differ_are_told_when_they_differ_by_the_same_twice(scene: Scene) -> None:
    """A difference that is another one each time is a bot that trades; one that stays is told once."""
    scene.beat(positions={"SPY": "10"})
    for theirs in ("11", "12", "10"):
        scene.venue.positions = {"SPY": theirs}
        assert await scene.kinds() == []
    scene.venue.positions = {"SPY": "7"}
    assert await scene.kinds() == []
    assert await scene.kinds() == ["books"]
    scene.venue.positions = {"SPY": "6"}
    assert await scene.kinds() == ["books"], "told already: another amount is no other finding"
    scene.venue.positions = {"SPY": "10"}
    assert await scene.kinds() == []

    assert scene.alerts.titles("order-drift") == [
        "SPY: the bot's books say 10, the venue 7",
        "over: SPY: the bot's books say 10, the venue 6",
    ]


async def test_the_books_of_a_silent_bot_are_those_of_its_journal(scene: Scene) -> None:
    """What it said last may be old."""
    scene.beat(age=60, positions={"SPY": "10"})
    scene.journaled, scene.venue.positions = Books({"SPY": Decimal(4)}, ()), {"SPY": "4"}
    await scene.kinds()
    assert await scene.kinds() == ["silent"]


@pytest.mark.parametrize("status", [200, 503])
async def test_a_bot_that_says_itself_that_it_is_not_well(scene: Scene, status: int) -> None:
    """With its reasons, after two looks: a stream may be just reconnecting."""
    scene.health = status
    scene.beat(reasons=("the user stream is not connected",), status_url="http://127.0.0.1:1")
    assert await scene.kinds() == []
    assert await scene.kinds() == ["unhealthy"]
    assert scene.alerts.titles() == ["the bot is not well: the user stream is not connected"]


async def test_a_status_api_that_does_not_answer_as_it_should(scene: Scene) -> None:
    """The runner beats, and the window is broken."""
    scene.health = 500
    scene.beat(status_url="http://127.0.0.1:1")
    await scene.kinds()
    assert await scene.kinds() == ["unhealthy"]
    assert scene.alerts.titles() == ["the bot is not well: its status API answers HTTP 500"]


async def test_a_venue_that_cannot_be_asked(scene: Scene) -> None:
    """Nothing is compared, and nothing is taken back that was not looked at."""
    scene.beat(positions={"SPY": "10"})
    await scene.kinds()
    assert await scene.kinds() == ["books"]
    scene.venue.fails = True
    assert await scene.kinds() == ["books"]
    assert await scene.kinds() == ["venue", "books"]
    scene.venue.fails, scene.venue.positions = False, {"SPY": "10"}
    assert await scene.kinds() == []
    assert [title for title in scene.alerts.titles() if title.startswith("over: ")] == [
        "over: the venue cannot be asked: GET /v2/positions: the venue failed",
        "over: SPY: the bot's books say 10, the venue 0",
    ]


async def test_a_journal_that_cannot_be_read_is_told(scene: Scene) -> None:
    """Its sentence, and no traceback."""
    scene.die()

    def broken() -> Books:
        message = "the journal is damaged"
        raise JournalError(message)

    watch = Watch(scene.path, scene.venue, broken, scene.alerts)
    await watch.look()
    found = await watch.look()
    assert [finding.sentence for finding in found] == [
        "no bot runs: its process ended without an orderly end",
        "the books cannot be compared: the journal is damaged",
    ]


async def test_it_looks_again_and_again(scene: Scene) -> None:
    """As often as it was told to."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise _Enough

    with pytest.raises(_Enough):
        await scene.watch.run(7.0, sleep)
    assert pauses == [7.0] * 3


# -- a journal in a database ---------------------------------------------------------------------


class Elsewhere:
    """A watch over a database, whose beats are in a folder of ours."""

    def __init__(self, place: Path | DatabaseUrl, files: Path) -> None:
        self.files, self.alerts = files, RecordingAlerts()
        self.watch = Watch(files, Venue(), lambda: NOTHING, self.alerts, owned=place)

    def beat(self, **changes: Any) -> None:
        """What the bot said just now."""
        me = this_process()
        said = Liveness(pid=me.pid, birth=me.birth, host=me.host, at=RealTimeClock().now_ns(), trading_state="active")
        write_liveness(liveness_path(self.files), msgspec.structs.replace(said, **changes))


async def test_a_database_that_does_not_answer_ends_no_watch(tmp_path: Path) -> None:
    """It is told after two looks, the bot that beats is compared by its beat, and nothing is called over meanwhile."""
    pytest.importorskip("psycopg", reason="the driver is an extra")
    nobody = DatabaseUrl("postgresql://bot:secret@127.0.0.1:1/trading")
    found = Elsewhere(nobody, tmp_path / "postgresql-1")
    found.beat(positions={"SPY": "3"})

    await found.watch.look()
    assert [finding.kind for finding in found.watch.suspected] == ["journal", "books"]
    await found.watch.look()
    assert [finding.kind for finding in found.watch.findings] == ["journal", "books"]
    assert "secret" not in found.watch.findings[0].sentence


async def test_a_bot_of_another_machine_is_to_be_watched_there(tmp_path: Path) -> None:
    """Its beats are not here: that is no silence, and no health either."""
    lock = lock_path(tmp_path / "journal")
    lock.write_bytes(msgspec.json.encode(Owner(pid=4711, host="another-machine")))
    found = Elsewhere(tmp_path / "journal", tmp_path / "postgresql-1")

    (finding,) = await found.watch.look()
    assert finding.kind == "elsewhere"
    assert "runs on another-machine: watch it there" in finding.sentence
