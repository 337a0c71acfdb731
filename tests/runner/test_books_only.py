"""Books alone, from a snapshot of whatever traded: what closes or compares what a bot left behind reads little."""

from __future__ import annotations

import pytest

from holdfast.kernel import Kernel
from holdfast.model.errors import InvariantError
from holdfast.risk.protections import MaxDrawdown, ProtectionManager
from holdfast.runner import recover
from holdfast.runner.snapshots import load_books
from holdfast.testing import InProcessBot
from holdfast.testing.bot import make_kernel
from tests.runner.test_snapshots import a_run, strategies


def books(kernel: Kernel) -> dict[str, object]:
    """What a flatten and a watch look at."""
    portfolio = kernel.portfolio
    return {
        "positions": {p.symbol: p.quantity for p in portfolio.positions.get_all()},
        "cash": portfolio.positions.cash,
        "orders": [(o.client_order_id, o.status, o.filled_quantity) for o in portfolio.tracker.orders()],
        "state": portfolio.trading_state,
    }


async def holding() -> InProcessBot:
    """A bot that has traded, holds something, and has taken snapshots."""
    bot = await a_run(bars=14)
    assert bot.kernel.portfolio.positions.get_all() != []
    return bot


async def test_the_books_of_a_snapshot_are_those_of_the_whole_journal() -> None:
    """With fewer records read, and without the strategy that made them."""
    bot = await holding()
    quick, slow = make_kernel(), make_kernel()
    recovery = recover(bot.journal, quick, books_only=True)
    whole = recover(bot.journal, slow)

    assert 0 < recovery.records < whole.records
    assert (recovery.snapshot > 0, recovery.unused) == (True, "")
    assert books(quick) == books(slow) == books(bot.kernel)
    assert recovery.last_epoch == whole.last_epoch


async def test_a_snapshot_of_other_guards_is_passed_over_and_the_journal_read() -> None:
    """It takes longer and comes to the same; the reason is told."""
    bot = await holding()
    other = make_kernel(protections=ProtectionManager([MaxDrawdown()]))
    recovery = recover(bot.journal, other, books_only=True)

    assert recovery.snapshot == 0
    assert "was not used" in recovery.unused
    assert books(other) == books(bot.kernel)


async def test_a_kernel_that_trades_does_not_go_on_from_books_alone() -> None:
    """Its strategies would begin anew in the middle."""
    bot = await holding()
    snapshot = bot.journal.latest_snapshot()
    assert snapshot is not None
    with pytest.raises(InvariantError, match="without strategies"):
        load_books(snapshot, make_kernel(strategies()))
