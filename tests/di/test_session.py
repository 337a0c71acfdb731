"""The last comparison of the books, before a run ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast.di.session import look_until_equal


class Looks:
    """Books of which each look finds what is listed; the last one from then on."""

    def __init__(self, *found: list[str], hangs: bool = False) -> None:
        self._found = list(found)
        self._hangs = hangs
        self.count = 0

    async def reconcile_orders(self, *, patience_seconds: float) -> dict[str, Any]:
        """As the container answers."""
        assert patience_seconds > 0
        self.count += 1
        if self._hangs:
            await asyncio.Event().wait()
        return {"drift": self._found.pop(0) if len(self._found) > 1 else self._found[0]}


@pytest.mark.parametrize(
    ("found", "looks"),
    [
        ([[]], 1),
        ([["BTC/USD"], []], 2),
        ([["BTC/USD"], ["BTC/USD"], []], 3),
        ([["BTC/USD"]], 4),
    ],
    ids=["equal at once", "a fill came between two answers", "a view that lagged twice", "real drift"],
)
async def test_a_difference_is_looked_at_again_before_it_is_told(found: list[list[str]], looks: int) -> None:
    """One look may have met the venue in the middle of a fill; a difference that stays ends the looking, too."""
    books = Looks(*found)

    await look_until_equal(books, 5.0, between=0.0)

    assert books.count == looks


async def test_a_venue_that_does_not_answer_holds_nobody_up() -> None:
    """The time for all looks together is over, and nothing is raised."""
    books = Looks([], hangs=True)

    await look_until_equal(books, 0.01, between=0.0)

    assert books.count == 1
