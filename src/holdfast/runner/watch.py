"""Somebody else looks: is the bot there, does it answer, and does the venue hold what its books say?

A bot cannot tell of its own death, nor see a mistake in its own books. So a second process looks from outside, with a
connection of its own that only reads, at three things: the process that owns the journal, the liveness file that the
runner keeps fresh, and the venue.

    finding      what is seen                                                   told after
    silent       a process owns the journal, and its runner takes no events     one look (two while it starts)
    gone         nobody owns the journal, and its last word was no orderly end  one look
    unhealthy    it beats, and says itself (or by /healthz) that it is not well  two looks
    books        a position differs from the venue's by the same amount         two looks
    ownerless    nobody owns the journal, and the venue holds something for it  one look
    venue        the venue cannot be asked                                      two looks
    journal      the journal's database cannot be asked who owns it             two looks
    elsewhere    the owner runs on another machine, where its last beat is      one look

Each is told once when it begins and once when it is over. The bot's own books are those of its last beat while it
beats, and those of its journal where it does not.

    failure                                  what follows
    the liveness file cannot be read         as if there were none: silent, or gone
    the status API does not answer           unhealthy
    the journal cannot be read               told as books: they cannot be compared
    its database cannot be asked             told as journal; a bot that still beats is compared by its beat
    the webhook is dead                      the finding is printed all the same, and the exit code of --once says it
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Protocol

import httpx
import msgspec

from holdfast.journal import Owner, read_owner
from holdfast.journal.places import Place
from holdfast.model import BrokerPosition, OrderReport
from holdfast.model.errors import BrokerError, HoldfastError, JournalError
from holdfast.model.orders import with_legs
from holdfast.net.tls import trusted_by
from holdfast.runner.liveness import Liveness, age_seconds, read_liveness
from holdfast.runner.ports import AlertPort

# The runner writes once a second; a machine under load may need a few.
SILENCE_SECONDS = 10.0
_HEALTH_SECONDS = 3.0
_ZERO = Decimal(0)

# Findings that must be seen twice in a row: the views of a venue lag, and a stream may be just reconnecting.
_TWICE = frozenset({"unhealthy", "books", "venue", "journal", "starting"})
_BY_COMPARISON = frozenset({"books", "ownerless"})
_OF_THE_OWNER = frozenset({"silent", "gone", "elsewhere", "ownerless"})
_CHANNELS = {"books": "order-drift", "ownerless": "order-drift"}


class Books(msgspec.Struct, frozen=True):
    """What a bot thinks that it has."""

    positions: Mapping[str, Decimal]
    open_orders: tuple[str, ...]
    journal_id: str = ""


class WatchedVenue(Protocol):
    """The two questions that are asked of the venue."""

    async def fetch_positions(self) -> tuple[BrokerPosition, ...]:
        """All positions."""
        ...

    async def fetch_open_orders(self) -> tuple[OrderReport, ...]:
        """All open orders."""
        ...


class Finding(msgspec.Struct, frozen=True):
    """Something that is wrong.

    Attributes:
        kind: A row of the module's table.
        subject: What it is about, where one kind may be found of several: a symbol.
        sentence: For people.
        measure: What must be the same at two looks for it to be the same finding.
    """

    kind: str
    sentence: str
    subject: str = ""
    measure: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """Which finding it is, however its figures change."""
        return self.kind, self.subject


class Watch:
    """Looks again and again, and tells changes.

    Args:
        journal: The bot's, or the name that stands for it: beside it is the liveness file.
        venue: Read only, with a share of the rate limit that the bot does not miss.
        journaled: The bot's books by its journal; may take long, and runs in a thread.
        alerts: Who is told.
        token: For the status API.
        owned: What the bot owns, a file or a database, where that is not the file ``journal`` itself.

    Attributes:
        findings: Those of the last look that are certain.
        suspected: Those of the last look that a second look must confirm.
    """

    def __init__(
        self,
        journal: Path,
        venue: WatchedVenue,
        journaled: Callable[[], Books],
        alerts: AlertPort,
        *,
        token: str = "",
        owned: Place | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._journal = journal
        self._owned: Place = owned or journal
        self._venue = venue
        self._journaled = journaled
        self._alerts = alerts
        self._token = token
        self._transport = transport
        self._seen: dict[tuple[str, str], Finding] = {}
        self._told: dict[tuple[str, str], Finding] = {}
        self._is_blind = self._knows_no_owner = False
        self.findings: tuple[Finding, ...] = ()
        self.suspected: tuple[Finding, ...] = ()

    async def run(self, every: float, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        """Look every so many seconds (real time), until cancelled."""
        while True:
            await self.look()
            await sleep(every)

    async def look(self) -> tuple[Finding, ...]:
        """One look; returns what is certain."""
        self._is_blind = self._knows_no_owner = False
        found = {finding.key: finding for finding in await self._find()}
        if self._is_blind:
            # What could not be looked at is as it was: nothing is over because nobody could see it.
            found |= {key: told for key, told in self._told.items() if told.kind in _BY_COMPARISON}
        if self._knows_no_owner:
            found |= {key: told for key, told in self._told.items() if told.kind in _OF_THE_OWNER}
        certain: list[Finding] = []
        suspected: list[Finding] = []
        for key, finding in found.items():
            before = self._seen.get(key)
            known = key in self._told or (before is not None and before.measure == finding.measure)
            (certain if finding.kind not in _TWICE or known else suspected).append(finding)
        self._seen = found
        self.findings, self.suspected = tuple(certain), tuple(suspected)
        self._tell()
        return self.findings

    def _tell(self) -> None:
        now = {finding.key: finding for finding in self.findings}
        for key, finding in now.items():
            if key not in self._told:
                self._alerts.notify_nowait(_CHANNELS.get(finding.kind, "system"), finding.sentence, "holdfast watch")
        for key, finding in self._told.items():
            if key not in now:
                self._alerts.notify_nowait(
                    _CHANNELS.get(finding.kind, "system"), f"over: {finding.sentence}", "holdfast watch"
                )
        self._told = now

    # -- what is found --------------------------------------------------------------------------

    async def _find(self) -> list[Finding]:
        beat = read_liveness(self._journal)
        try:
            owner = await asyncio.to_thread(read_owner, self._owned)
        except JournalError as error:
            self._knows_no_owner = True
            owner, found = None, [Finding("journal", f"who owns the journal cannot be asked: {error}")]
            beats = beat is not None and not beat.ended and age_seconds(beat) <= SILENCE_SECONDS
        else:
            found = _of_the_process(owner, beat)
            beats = owner is not None and not found
        if beats and beat is not None:
            found += await self._of_its_health(beat)
        try:
            positions = {p.symbol: p.quantity for p in await self._venue.fetch_positions() if p.quantity}
            orders = with_legs(await self._venue.fetch_open_orders())
        except BrokerError as error:
            self._is_blind = True
            return [*found, Finding("venue", f"the venue cannot be asked: {error.message}")]
        try:
            books = _books_of(beat) if beats and beat is not None else await asyncio.to_thread(self._journaled)
        except HoldfastError as error:
            self._is_blind = True
            return [*found, Finding("books", f"the books cannot be compared: {error}")]
        if owner is None and not self._knows_no_owner:
            found += _without_owner(books, positions, orders)
        return [*found, *_differences(books, positions)]

    async def _of_its_health(self, beat: Liveness) -> list[Finding]:
        reasons = list(beat.reasons)
        if beat.status_url:
            try:
                async with httpx.AsyncClient(
                    timeout=_HEALTH_SECONDS,
                    trust_env=False,
                    transport=self._transport,
                    verify=trusted_by(beat.status_url),
                ) as client:
                    response = await client.get(
                        beat.status_url + "/healthz", headers={"Authorization": f"Bearer {self._token}"}
                    )
                if response.status_code not in (200, 503):
                    reasons.append(f"its status API answers HTTP {response.status_code}")
            except httpx.HTTPError as error:
                reasons.append(f"its status API does not answer: {type(error).__name__}")
        return [Finding("unhealthy", f"the bot is not well: {'; '.join(reasons)}")] if reasons else []


def _of_the_process(owner: Owner | None, beat: Liveness | None) -> list[Finding]:
    if owner is None:
        if beat is not None and beat.ended:
            return []
        return [Finding("gone", "no bot runs: its process ended without an orderly end")]
    if not owner.is_here and (beat is None or beat.host != owner.host):
        return [
            Finding("elsewhere", f"the bot (pid {owner.pid}) runs on {owner.host}: watch it there, beside its files")
        ]
    if beat is None or beat.pid != owner.pid:
        return [Finding("starting", f"the bot (pid {owner.pid}) has not begun to take events")]
    if age_seconds(beat) > SILENCE_SECONDS:
        return [Finding("silent", f"the bot (pid {owner.pid}) takes no events any more")]
    return []


def _books_of(beat: Liveness) -> Books:
    return Books({symbol: Decimal(quantity) for symbol, quantity in beat.positions.items()}, beat.open_orders)


def _without_owner(books: Books, positions: Mapping[str, Decimal], orders: tuple[OrderReport, ...]) -> list[Finding]:
    found = [
        Finding("ownerless", f"{positions[symbol]} {symbol} at the venue have no bot that looks after them", symbol)
        for symbol in books.positions
        if symbol in positions
    ]
    ours = set(books.open_orders)
    open_there = [
        order
        for order in orders
        if order.client_order_id in ours
        or (books.journal_id and order.client_order_id.startswith(books.journal_id + "-"))
    ]
    found += [
        Finding(
            "ownerless", f"an order in {order.symbol} is open at the venue and no bot looks after it", order.broker_id
        )
        for order in open_there
    ]
    return found


def _differences(books: Books, positions: Mapping[str, Decimal]) -> list[Finding]:
    found = []
    for symbol in dict.fromkeys([*books.positions, *positions]):
        ours, theirs = books.positions.get(symbol, _ZERO), positions.get(symbol, _ZERO)
        if ours != theirs:
            sentence = f"{symbol}: the bot's books say {ours}, the venue {theirs}"
            found.append(Finding("books", sentence, symbol, str(theirs - ours)))
    return found
