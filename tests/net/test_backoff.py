"""Back-off: delays lie within a bound that doubles up to a cap."""

from __future__ import annotations

import random  # noqa: TID251 - a seeded source, to compare draws

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model.errors import ConfigurationError
from holdfast.net import Backoff


class Highest(random.Random):
    """Always draws the upper end, so that the bound itself is seen."""

    def uniform(self, a: float, b: float) -> float:
        """The upper end."""
        return b


def test_the_bound_doubles_up_to_the_cap() -> None:
    """1, 2, 4, 8, 16, 30, 30 seconds by default, and again from 1 after a reset."""
    backoff = Backoff(rng=Highest())
    assert [backoff.next() for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert backoff.tries == 7

    backoff.reset()
    assert backoff.tries == 0
    assert [backoff.next() for _ in range(2)] == [1, 2]


@given(st.floats(0.001, 100), st.floats(1, 50), st.floats(1, 10), st.integers(0, 2**32))
def test_delays_are_spread_over_all_that_is_allowed(base: float, more: float, factor: float, seed: int) -> None:
    """Full jitter: each delay is the same draw from [0, bound], for any number of tries."""
    one, other = (random.Random(seed) for _ in range(2))  # noqa: S311 - reproducible draws, no secret
    backoff, draws, bound = Backoff(base, base * more, factor, one), other, base
    for _ in range(50):
        assert backoff.next() == pytest.approx(draws.random() * bound)
        bound = min(base * more, bound * factor)


def test_two_clients_do_not_come_back_together() -> None:
    """Without a given source the draws differ."""
    one, other = Backoff(), Backoff()

    assert [one.next() for _ in range(8)] != [other.next() for _ in range(8)]


@pytest.mark.parametrize(
    ("base", "cap", "factor"),
    [(0, 30, 2), (-1, 30, 2), (31, 30, 2), (1, 30, 0.5), (1, float("inf"), 2), (1, 30, float("nan"))],
)
def test_settings_that_make_no_sense_are_refused(base: float, cap: float, factor: float) -> None:
    """One sentence with what was expected."""
    with pytest.raises(ConfigurationError, match="expected 0 < base <= cap and factor >= 1"):
        Backoff(base, cap, factor)
