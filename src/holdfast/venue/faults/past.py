"""What accounts were like a while ago, for views that lag behind.

A copy of an account's engine is kept for every moment at which something was told of it, as long as a rule needs one. Asking for
the past before the first copy gives the first copy: the account as it was when the rule was set.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Final

from holdfast.venue.accounts import VenueAccount
from holdfast.venue.exchange import Exchange

_COPIES_MAX: Final = 200


class Past:
    """The copies, by account."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._kept: dict[int, list[tuple[int, dict[str, Any]]]] = {}
        self._keeps = False

    def keep(self, *, wanted: bool) -> None:
        """Begin to keep copies, or forget them all."""
        if wanted is self._keeps:
            return
        self._keeps = wanted
        self._kept.clear()
        if wanted:
            self.note(self._exchange.accounts)

    def note(self, accounts: Sequence[VenueAccount]) -> None:
        """These accounts have changed."""
        if not self._keeps:
            return
        for account in accounts:
            kept = self._kept.setdefault(account.number, [])
            now = self._exchange.now
            if len(kept) > 1 and kept[-1][0] == now:  # never the first, which is what came before
                kept.pop()
            kept.append((now, account.engine.dump()))
            del kept[:-_COPIES_MAX]

    def view(self, account: VenueAccount, moment: int) -> VenueAccount:
        """The account as it was at a moment (UTC ns)."""
        kept = self._kept.get(account.number)
        if not kept:
            return account
        index = max(0, bisect_right(kept, moment, key=lambda entry: entry[0]) - 1)
        shown = copy.copy(account)
        shown.engine = self._exchange.engine_for(account.number)
        shown.engine.load(kept[index][1])
        return shown
