"""What the runner needs of the outside, as protocols: any broker adapter and any notifier that has these will do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from holdfast.model import Account, AccountActivity, Asset, Bar, BrokerPosition, Execution, OrderIntent, OrderReport


class BrokerPort(Protocol):
    """A broker, in the kernel's own types.

    Every method may raise ``BrokerRefusedError`` (a definite no) or ``OutcomeUnknownError`` (no verdict).
    """

    async def place(self, intent: OrderIntent, *, admit: Callable[[], str | None]) -> OrderReport:
        """Send the order once.

        ``admit`` is asked right before the bytes leave, after any wait for the rate limit; a reason
        means that the order must not leave any more.

        Raises:
            OrderDroppedError: It did not leave this process.
        """
        ...

    async def replace(self, intent: OrderIntent, broker_id: str, *, admit: Callable[[], str | None]) -> OrderReport:
        """Ask, once, to put an order in the place of the one with this id of the venue; the new order.

        That the venue took the request is not its word on the old order, which may fill first. ``admit`` as for ``place``.

        Raises:
            OrderDroppedError: The request did not leave this process.
        """
        ...

    async def find_order(self, client_order_id: str) -> OrderReport | None:
        """The order with this client order id; None where the venue says that it has none."""
        ...

    async def fetch_order(self, broker_id: str) -> OrderReport | None:
        """The order with this id of the venue, and the orders that depend on it (``legs``); None where it has none."""
        ...

    async def request_cancel(self, broker_id: str) -> None:
        """Ask for a cancel; the final word is the venue's event."""
        ...

    async def request_close(self, symbol: str, *, admit: Callable[[], str | None]) -> OrderReport:
        """Have the venue close a whole position; the order that it makes for that. ``admit`` as for ``place``.

        Raises:
            OrderDroppedError: The request did not leave this process.
        """
        ...

    async def fetch_account(self) -> Account:
        """The account as it is now."""
        ...

    async def fetch_asset(self, symbol: str) -> Asset:
        """The venue's description of a symbol.

        Raises:
            UnknownSymbolError: It has none.
        """
        ...

    async def fetch_positions(self) -> tuple[BrokerPosition, ...]:
        """All positions."""
        ...

    async def fetch_orders(self, since: int) -> tuple[OrderReport, ...]:
        """Open orders, and those submitted since (UTC ns)."""
        ...

    async def fetch_executions(self, since: int) -> tuple[Execution, ...]:
        """Executions since (UTC ns), oldest first."""
        ...

    async def fetch_adjustments(self, since: int) -> tuple[AccountActivity, ...]:
        """What changed the account without a trade since (UTC ns), oldest first; older ones may be among them."""
        ...

    async def fetch_bars(self, symbol: str, start: int, end: int, period: int) -> Sequence[Bar]:
        """Bars that end in ``(start, end]`` (UTC ns), oldest first."""
        ...


class OrderStreamPort(Protocol):
    """The stream of order news, as the sender of orders sees it."""

    def is_connected(self) -> bool:
        """Authorised and listening."""
        ...

    async def wait_connected(self) -> None:
        """Return once it is."""
        ...

    def restart(self, reason: str) -> bool:
        """Give up this connection and make another one; returns whether there was one."""
        ...


class Brake(Protocol):
    """Something outside that may stop an order at the last moment (see ``holdfast.runner.halt_file``)."""

    def __call__(self, *, reduces: bool) -> str | None:
        """Why an order that only reduces (or may open) must not leave; None where it may."""
        ...


class AlertPort(Protocol):
    """Somewhere to tell people. Returns at once, always."""

    def notify_nowait(self, channel: str, title: str, details: str = "") -> None:
        """Enqueue a message."""
        ...
