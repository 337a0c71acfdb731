"""Rounding moves a number onto its step, in the direction asked, and never further than one step."""

from __future__ import annotations

import decimal
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.market.rounding import Step, to_decimal
from holdfast.model.errors import OrderError

INCREMENTS = st.sampled_from(["0.01", "0.0001", "1", "0.000000001", "0.05", "0.25", "0.1", "3", "100", "0.0125"])
VALUES = st.decimals(min_value=0, max_value=10**9, allow_nan=False, allow_infinity=False, places=12)


@given(INCREMENTS, VALUES)
def test_down_and_up_enclose_the_value_within_one_step(increment: str, value: Decimal) -> None:
    """Down is the greatest multiple not above, up the smallest not below; both are multiples."""
    step, size = Step(increment), Fraction(increment)
    down, up = Fraction(step.down(value)), Fraction(step.up(value))

    assert down % size == 0
    assert up % size == 0
    assert down <= Fraction(value) <= up
    assert up - down in {0, size}


@given(INCREMENTS, VALUES)
def test_nearest_is_the_nearest_multiple_and_ties_are_even(increment: str, value: Decimal) -> None:
    """The same as rounding an exact fraction half to even."""
    size = Fraction(increment)

    assert Fraction(Step(increment).nearest(value)) == round(Fraction(value) / size) * size


@given(INCREMENTS, VALUES)
def test_holds_is_true_exactly_for_multiples(increment: str, value: Decimal) -> None:
    """A multiple is one in exact arithmetic, whatever the number of decimals it is written with."""
    step = Step(increment)

    assert step.holds(value) == (Fraction(value) % Fraction(increment) == 0)
    assert step.holds(step.down(value))
    assert step.holds(step.up(value))


@given(INCREMENTS, st.decimals(min_value=-1000, max_value=0, places=6))
def test_negative_values_round_toward_the_named_direction(increment: str, value: Decimal) -> None:
    """Down is toward minus infinity, not toward zero."""
    step = Step(increment)

    assert step.down(value) <= value <= step.up(value)
    assert step.holds(step.down(value))


def test_the_callers_decimal_context_does_not_matter() -> None:
    """A caller that works with three digits gets the same price."""
    with decimal.localcontext(prec=3):
        assert Step("0.01").down(Decimal("123456.789")) == Decimal("123456.78")
        assert Step("0.05").up(Decimal("123456.789")) == Decimal("123456.80")
        assert Step("0.000000001").holds(Decimal("123456.123456789"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.1, "0.1"), (450.127, "450.127"), (1e-09, "1E-9"), (2e-05, "0.00002"), (10, "10"), ("1e3", "1000"), (True, "1")],
)
def test_floats_become_the_decimal_that_they_print_as(value: float, expected: str) -> None:
    """The bridge from float64 goes through the shortest text."""
    assert to_decimal(value) == Decimal(expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), "abc", "", None, object()])
def test_what_is_no_finite_number_is_one_clear_error(value: object) -> None:
    """No NaN gets into a price."""
    with pytest.raises(OrderError, match="number"):
        to_decimal(value)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("increment", [0, -1, "-0.01"])
def test_an_increment_must_be_positive(increment: object) -> None:
    """A step of nothing goes nowhere."""
    with pytest.raises(OrderError, match="positive"):
        Step(increment)  # type: ignore[arg-type]  # wrong on purpose
