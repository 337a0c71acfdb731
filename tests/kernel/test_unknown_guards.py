"""What nobody knows counts as filled, for every guard that asks."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from holdfast.model import OrderIntent, OrderSide
from holdfast.model.commands import SubmitOrder
from holdfast.risk import RiskLimits
from holdfast.risk.protections import CooldownPeriod
from tests.kernel.helpers import COIN, SPY, Bench, buy, leave, of, sell


def _unknown_buy(bench: Bench, quantity: int = 100, symbol: str = SPY) -> OrderIntent:
    intent = bench.order(buy(quantity, symbol=symbol), symbol=symbol)
    bench.unknown(intent)
    return intent


LIMITS = {
    "position_notional": RiskLimits(max_position_notional=Decimal(15_000)),
    "gross_exposure": RiskLimits(max_gross_exposure=Decimal(15_000)),
    "open_orders": RiskLimits(max_open_orders=1),
}


@pytest.mark.parametrize("guard", LIMITS)
def test_an_unknown_buy_of_100_counts_as_100_held_until_it_is_known_never_to_have_arrived(guard: str) -> None:
    """P7: against each limit, and no longer than nobody knows."""
    bench = Bench(limits=LIMITS[guard])
    unknown = _unknown_buy(bench)
    bench.act(buy(100))
    assert bench.verdict.guard == guard
    bench.missed(unknown)
    bench.act(buy(100))
    assert bench.verdict.guard == guard
    bench.denied(unknown)
    assert bench.order(buy(100)).quantity == Decimal(100)


def test_an_unknown_buy_counts_against_the_buying_power_whatever_the_account_says() -> None:
    """P7: the venue's figure may or may not know of it; the worse of the two is taken."""
    bench = Bench()
    unknown = _unknown_buy(bench, 1_500)
    for _ in range(2):
        bench.act(buy(600))
        assert bench.verdict.guard == "buying_power"
        bench.reported()
    bench.denied(unknown)
    assert bench.order(buy(600)).quantity == Decimal(600)


def test_an_unknown_purchase_of_coins_counts_against_the_cash() -> None:
    """P7: there is no margin for coins."""
    bench = Bench(COIN)
    unknown = _unknown_buy(bench, 900, COIN)
    bench.act(buy(200, symbol=COIN), symbol=COIN)
    assert bench.verdict.guard == "buying_power"
    bench.denied(unknown)
    assert bench.order(buy(200, symbol=COIN), symbol=COIN).quantity == Decimal(200)


def test_the_view_of_the_gate_counts_an_unknown_order_in_the_direction_that_is_worse() -> None:
    """P7: bought in whole for the size of a long position; not sold, for a sale that nobody knows of."""
    bench = Bench()
    bench.hold(100)
    sale = bench.order(leave(60))
    bench.unknown(sale)
    portfolio = bench.kernel.portfolio
    assert portfolio.position_quantity(SPY) == Decimal(100)
    assert portfolio.open_order_count() == 1
    assert portfolio.gross_exposure() == pytest.approx(10_000.0)


def test_an_unknown_sale_counts_as_sold_for_what_an_exit_may_still_take() -> None:
    """P7: all reducing orders together never flip the position, whatever became of the unknown one."""
    bench = Bench()
    bench.hold(100)
    sale = bench.order(leave(60))
    bench.unknown(sale)
    assert bench.order(leave()).quantity == Decimal(40)
    assert not of(SubmitOrder, bench.act(sell(1)))
    assert bench.verdict.guard == "no_flip"


def test_an_unknown_exit_of_everything_leaves_nothing_to_sell_until_it_is_known() -> None:
    """P7: and the whole position again, once the venue does not have it."""
    bench = Bench()
    bench.hold(100)
    sale = bench.order(leave())
    bench.unknown(sale)
    bench.act(leave())
    assert bench.verdict.guard == "exit_in_flight"
    bench.denied(sale)
    again = bench.order(leave())
    assert (again.side, again.quantity) == (OrderSide.SELL, Decimal(100))


def test_nothing_is_opened_beside_an_exit_that_nobody_knows_of() -> None:
    """P7: had it filled, the cooldown would hold; without knowing, no guard may let an entry pass."""
    hour = timedelta(hours=1)
    bench = Bench(protections=[CooldownPeriod(cooldown_duration=hour)])
    bench.hold(10)
    out = bench.order(leave(5))
    bench.unknown(out)
    bench.act(buy(5))
    assert bench.verdict.guard == "exit_unknown"
    bench.accepted(out)
    bench.filled(out, 5)
    bench.act(buy(5))
    assert bench.verdict.guard == "cooldown_period"


def test_an_unknown_exit_that_never_arrived_no_longer_blocks_an_entry() -> None:
    """P9: the question is answered."""
    bench = Bench()
    bench.hold(10)
    out = bench.order(leave(5))
    bench.unknown(out)
    bench.act(buy(5))
    assert bench.verdict.guard == "exit_unknown"
    bench.denied(out)
    assert bench.order(buy(5)).quantity == Decimal(5)


def test_an_unknown_exit_in_one_symbol_blocks_no_other() -> None:
    """Guards fail closed where they lack something, and nowhere else."""
    bench = Bench(SPY, "QQQ")
    bench.hold(10)
    bench.unknown(bench.order(leave(5)))
    assert bench.order(buy(5, symbol="QQQ"), symbol="QQQ").symbol == "QQQ"
