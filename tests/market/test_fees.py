"""Fees: by tier, in what is received, rounded up to nine decimals; equities are free."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.market import CRYPTO_FEE_TIERS, FeeModel
from holdfast.model import AssetClass, OrderSide
from holdfast.model.errors import ConfigurationError

D = Decimal
CRYPTO, EQUITY = AssetClass.CRYPTO, AssetClass.US_EQUITY
AMOUNTS = st.decimals(min_value=D("1E-9"), max_value=D(10**9), places=9)


def test_a_buy_of_a_tenth_of_a_coin_pays_25_basis_points_in_the_coin() -> None:
    """The example of the venue's own documents: 0.1 bought, 0.09975 held."""
    coin, cash = FeeModel().fee_for(CRYPTO, OrderSide.BUY, D("0.1"), D("43210.12"))

    assert (D("0.1") - coin, cash) == (D("0.09975"), D(0))


def test_a_sale_pays_in_cash_and_a_maker_pays_less() -> None:
    """15 basis points of 4,321.012, rounded up at the ninth decimal."""
    coin, cash = FeeModel().fee_for(CRYPTO, OrderSide.SELL, D("0.1"), D("43210.12"), taker=False)

    assert (coin, cash) == (D(0), D("6.481518"))


@given(AMOUNTS, AMOUNTS, st.sampled_from(list(OrderSide)), st.booleans())
def test_the_fee_is_the_exact_one_rounded_up(quantity: Decimal, price: Decimal, side: OrderSide, taker: bool) -> None:
    """Never below the exact fee, less than a billionth above it."""
    coin, cash = FeeModel().fee_for(CRYPTO, side, quantity, price, taker=taker)
    rate = Fraction(25 if taker else 15, 10_000)
    exact = Fraction(quantity) * rate * (1 if side is OrderSide.BUY else Fraction(price))
    paid = Fraction(coin if side is OrderSide.BUY else cash)

    assert 0 <= paid - exact < Fraction(1, 10**9)
    assert (cash if side is OrderSide.BUY else coin) == 0


@given(AMOUNTS, AMOUNTS, st.sampled_from(list(OrderSide)))
def test_equities_are_free(quantity: Decimal, price: Decimal, side: OrderSide) -> None:
    """No commission on shares."""
    assert FeeModel().fee_for(EQUITY, side, quantity, price) == (D(0), D(0))


@pytest.mark.parametrize(
    ("volume", "taker_bps"),
    [(0, 25), (99_999, 25), (100_000, 22), (999_999, 20), (10**7, 15), (10**8, 10), (10**12, 10)],
)
def test_tiers_change_exactly_at_their_volume(volume: int, taker_bps: int) -> None:
    """A volume equal to a tier's top belongs to the next tier."""
    coin, _ = FeeModel.for_volume(volume).fee_for(CRYPTO, OrderSide.BUY, D(10_000), D(1))

    assert coin == taker_bps


def test_the_tier_table_rises_in_volume_and_falls_in_fees() -> None:
    """Its last row has no top, the others rise."""
    tops = [tier.below for tier in CRYPTO_FEE_TIERS]
    bounded = [top for top in tops if top is not None]

    assert tops[-1] is None
    assert bounded == sorted(bounded)
    assert len(bounded) == len(tops) - 1
    assert [t.taker_bps for t in CRYPTO_FEE_TIERS] == sorted((t.taker_bps for t in CRYPTO_FEE_TIERS), reverse=True)


@pytest.mark.parametrize("bps", [-1, 10_001])
def test_impossible_fees_are_refused(bps: int) -> None:
    """A fee is a share between nothing and everything."""
    with pytest.raises(ConfigurationError, match="taker_bps must be between"):
        FeeModel(taker_bps=bps)
