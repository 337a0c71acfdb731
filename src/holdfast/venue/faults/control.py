"""All faults of one venue in one hand: what its applications and its admin port use of this package."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from holdfast.venue.accounts import VenueAccount
from holdfast.venue.exchange import Exchange
from holdfast.venue.faults.board import FaultBoard, Standing
from holdfast.venue.faults.messages import Outlet
from holdfast.venue.faults.past import Past
from holdfast.venue.faults.pending import PendingCancels
from holdfast.venue.faults.requests import RequestFaults
from holdfast.venue.faults.rules import Rule, Scenario, Target
from holdfast.venue.http import Interference
from holdfast.venue.streams.sockets import Socket


class FaultControl:
    """The rules and whom they strike.

    Args:
        exchange: What clients trade on.
        scenario: The rules that stand from the beginning.

    Attributes:
        board: The rules.
        pending: Orders that stick in pending_cancel.
        interfere: Comes between the requests of the trading port and their answers.
    """

    def __init__(self, exchange: Exchange, scenario: Scenario) -> None:
        self._exchange = exchange
        self._outlets: dict[Outlet, Callable[[], None]] = {}
        self._past = Past(exchange)
        self._next_start: int | None = None
        self.pending = PendingCancels(exchange)
        self.board = FaultBoard(seed=scenario.seed, begins_at=exchange.now, now=lambda: exchange.now)
        requests = RequestFaults(self.board, exchange, self.pending, self._past, self._trade_outlets)
        self.interfere: Interference = requests.answer
        self.board.on_change = self._on_change
        self.board.add(scenario.faults)

    # --- The admin port ----------------------------------------------------------------------------------------

    def add(self, rules: Sequence[Rule]) -> list[Standing]:
        """Let rules stand."""
        return self.board.add(rules)

    def remove(self, rule_id: str) -> Standing | None:
        """Take a rule away, and let go what it held. What it has muted stays mute; what it has cut stays cut."""
        standing = self.board.remove(rule_id)
        if standing is not None:
            self.pending.let_go(standing.id)
        return standing

    def clear(self) -> list[Standing]:
        """Take all rules away."""
        gone = self.board.clear()
        for standing in gone:
            self.pending.let_go(standing.id)
        return gone

    # --- Connections -------------------------------------------------------------------------------------------

    def watch_socket(
        self, socket: Socket, target: Target, owner: Callable[[], VenueAccount | None], is_ready: Callable[[], bool]
    ) -> Outlet:
        """Put an outlet between a session and its socket."""
        outlet = self._outlet(target, owner, is_ready, packed=socket.codec.packed)
        outlet.later = lambda seconds, do: asyncio.get_running_loop().call_later(seconds, do)
        outlet.post = socket.send_frame
        socket.outlet = outlet
        self._outlets[outlet] = lambda: socket.cut() if outlet.cut else None
        return outlet

    @contextlib.contextmanager
    def watch_events(self, account: VenueAccount, wake: Callable[[], None]) -> Iterator[Outlet]:
        """An outlet for a connection of server-sent events, while it lasts."""
        outlet = self._outlet("events", lambda: account, lambda: True, packed=False)
        self._outlets[outlet] = wake
        outlet.strike_connection()
        try:
            yield outlet
        finally:
            del self._outlets[outlet]

    def on_gone(self, outlet: Outlet, release: Callable[[], None]) -> None:
        """A connection has ended: release its place, now or when the half-open socket is reaped."""
        self._outlets.pop(outlet, None)
        seconds = outlet.seconds_held()
        if seconds > 0:
            asyncio.get_running_loop().call_later(seconds, release)
        else:
            release()

    # --- Time --------------------------------------------------------------------------------------------------

    def carry_out(self) -> None:
        """Do what is due at the venue's present time."""
        if self.pending:
            self.pending.carry_out()
        if self._next_start is not None and self._next_start <= self._exchange.now:
            self._on_change()

    def next_due(self) -> int | None:
        """When something is due next (UTC ns)."""
        return min((at for at in (self.pending.next_due(), self._next_start) if at is not None), default=None)

    def note(self, accounts: Iterable[VenueAccount]) -> None:
        """These accounts have changed."""
        self._past.note(list(accounts))

    # --- Inside ------------------------------------------------------------------------------------------------

    def _outlet(
        self, target: Target, owner: Callable[[], VenueAccount | None], is_ready: Callable[[], bool], *, packed: bool
    ) -> Outlet:
        def key() -> str:
            account = owner()
            return "" if account is None else account.key

        return Outlet(self.board, target, packed=packed, key=key, is_ready=is_ready, pending=self.pending)

    def _on_change(self) -> None:
        """Rules have come, gone, or begun to stand: strike connections as such."""
        self._next_start = self.board.next_start()
        self._past.keep(wanted=any(one.rule.effect == "lag" for one in self.board.standing()))
        for outlet, enforce in list(self._outlets.items()):
            outlet.strike_connection()
            enforce()

    def _trade_outlets(self, key: str) -> list[Outlet]:
        return [outlet for outlet in self._outlets if outlet.target == "trade" and outlet.key() == key]
