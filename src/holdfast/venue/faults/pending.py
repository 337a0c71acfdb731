"""Orders whose cancel has been answered and not been carried out: they stick in ``pending_cancel``.

The engine knows nothing of it. Until the cancel is carried out, as an ordinary input of the book, the order is open and can
fill; only what clients are shown says ``pending_cancel``. A venue that is killed meanwhile forgets the cancel.
"""

from __future__ import annotations

import contextlib
from typing import Any, Final

from holdfast.venue.accounts import VenueAccount
from holdfast.venue.exchange import Exchange
from holdfast.venue.matching.orders import Refusal

_SHOWN_AS_PENDING: Final = frozenset({"new", "accepted", "pending_new", "partially_filled"})


class _Pending:
    __slots__ = ("account", "due", "rule_id")

    def __init__(self, account: VenueAccount, due: int | None, rule_id: str) -> None:
        self.account = account
        self.due = due
        self.rule_id = rule_id


class PendingCancels:
    """The orders of one venue that are stuck."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._pending: dict[str, _Pending] = {}

    def __bool__(self) -> bool:
        return bool(self._pending)

    def __contains__(self, order_id: str) -> bool:
        return order_id in self._pending

    def hold(self, account: VenueAccount, order_id: str, due: int | None, rule_id: str) -> None:
        """Let an order stick until a moment (UTC ns); None lets it stick until the rule is removed."""
        self._pending[order_id] = _Pending(account, due, rule_id)

    def let_go(self, rule_id: str) -> None:
        """Carry out what a rule that has been removed held back."""
        for order_id in [name for name, one in self._pending.items() if one.rule_id == rule_id]:
            self._cancel(order_id)

    def carry_out(self) -> None:
        """Cancel the orders whose time has come."""
        now = self._exchange.now
        for order_id in [name for name, one in self._pending.items() if one.due is not None and one.due <= now]:
            self._cancel(order_id)

    def next_due(self) -> int | None:
        """When the next of them is canceled (UTC ns)."""
        return min((one.due for one in self._pending.values() if one.due is not None), default=None)

    def show(self, value: Any) -> Any:
        """A decoded answer or message, with the status of every such order as clients see it."""
        if isinstance(value, list):
            return [self.show(part) for part in value]
        if isinstance(value, dict):
            shown = {name: self.show(part) if isinstance(part, list | dict) else part for name, part in value.items()}
            if shown.get("id") in self._pending and shown.get("status") in _SHOWN_AS_PENDING:
                shown["status"] = "pending_cancel"
            return shown
        return value

    def _cancel(self, order_id: str) -> None:
        pending = self._pending.pop(order_id)
        with contextlib.suppress(Refusal):  # it has filled or expired meanwhile
            self._exchange.cancel(pending.account, order_id)
