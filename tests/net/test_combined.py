"""The combined throttler: the venues' published limits, all of them configurable."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.model.errors import ConfigurationError
from holdfast.net import RateLimit, SharedLimit, create_combined_throttler
from holdfast.time import BacktestClock


@pytest.mark.parametrize(
    ("shared", "limit", "members"),
    [
        ("alpaca_trading", 200, "orders account positions assets clock calendar activities"),
        ("alpaca_data", 200, "bars quotes trades snapshots"),
        ("polygon", 5, "bars reference"),
    ],
)
async def test_members_share_the_published_limits(shared: str, limit: int, members: str) -> None:
    """Each member's call is seen in the shared limit and in all its members."""
    throttler = create_combined_throttler(clock=BacktestClock(0))
    ids = [f"{shared.partition('_')[0]}_{member}" for member in members.split()]
    for limit_id in ids:
        await throttler.acquire(limit_id)

    stats = throttler.get_stats()
    for limit_id in [shared, *ids]:
        assert (stats[limit_id]["limit"], stats[limit_id]["period"]) == (limit, 60.0)
        assert stats[limit_id]["in_window"] == len(ids)
        assert stats[limit_id]["total_calls"] == (len(ids) if limit_id == shared else 1)


async def test_limits_can_be_changed_and_added() -> None:
    """By objects or by tables; a table leaves what it does not name as it was."""
    throttler = create_combined_throttler(
        {
            "alpaca_trading": {"limit": 1000},
            "alpaca_orders": {"limit": 10, "period": 1, "linked": ["alpaca_trading"]},
            "polygon": RateLimit(100, 1.0),
            "mine": {"limit": 7, "period": 2.5},
            "mine_too": SharedLimit(("mine",)),
            "alpaca_bars": {"weight": 2},
        },
        BacktestClock(0),
    )
    await throttler.acquire("alpaca_bars")

    stats = throttler.get_stats()
    limits = {name: (figures["limit"], figures["period"]) for name, figures in stats.items()}
    assert limits["alpaca_trading"] == limits["alpaca_account"] == (1000, 60.0)
    assert limits["alpaca_orders"] == (10, 1.0)
    assert limits["polygon_bars"] == (100, 1.0)
    assert limits["mine"] == limits["mine_too"] == (7, 2.5)
    assert stats["alpaca_data"]["in_window"] == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"polygon": 5}, r"limits\.polygon is 5; expected a table"),
        ({"polygon": {"limt": 5}}, r"limits\.polygon has unknown key 'limt'; expected limit, period, weight, linked"),
        ({"polygon": {"limit": "five"}}, r"limits\.polygon is not valid: Expected `int`.*limit"),
        ({"polygon": {"limit": 0}}, r"limits\.polygon is not valid: .*the limit of a rate limit must be .* got 0"),
        ({"mine": {"limit": 5}}, r"limits\.mine is not valid: .*missing required field `period`"),
        ({"mine": {}}, r"limits\.mine is not valid: .*missing required field `linked`"),
        ({"mine": {"linked": ["yours"]}}, "'mine' is linked to 'yours', which does not exist"),
    ],
)
def test_a_bad_setting_is_named_with_what_was_expected(overrides: dict[str, Any], message: str) -> None:
    """One sentence that names the key."""
    with pytest.raises(ConfigurationError, match=message):
        create_combined_throttler(overrides)
