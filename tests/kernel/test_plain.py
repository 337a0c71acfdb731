"""Plain data comes back as it went, type for type; anything else is refused with its place."""

from __future__ import annotations

import math
from collections import deque
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel.plain import from_bytes, to_bytes
from holdfast.model import OrderSide
from holdfast.model.errors import DataError

_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(),
    st.binary(),
    st.decimals(allow_nan=False),
)
_PLAIN = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.one_of(st.text(), st.integers(-(2**62), 2**62)), inner, max_size=4),
    ),
    max_leaves=20,
)


def typed(value: Any) -> Any:
    """With the types beside the values, and dicts in their order: 1, 1.0 and True are three things."""
    if isinstance(value, dict):
        return [(typed(key), typed(item)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [typed(item) for item in value]
    return type(value), str(value) if isinstance(value, float | Decimal) else value


@given(_PLAIN)
def test_it_comes_back_as_it_went(value: Any) -> None:
    """Types, digits, signs of zero and the order of keys included; the same data is the same bytes."""
    data = to_bytes(value)
    back = from_bytes(data)
    assert typed(back) == typed(value)
    assert to_bytes(back) == data


def test_numbers_that_are_none_come_back_too() -> None:
    """An indicator that has no value yet is often NaN."""
    assert math.isnan(from_bytes(to_bytes(math.nan)))
    assert from_bytes(to_bytes([math.inf, -math.inf])) == [math.inf, -math.inf]


def test_subclasses_are_what_they_are_at_heart() -> None:
    """A number of NumPy's, a member of an enum."""
    assert typed(from_bytes(to_bytes([np.float64(0.1), OrderSide.BUY]))) == typed([0.1, "buy"])


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({1, 2}, "state is a set"),
        ({"a": [0, {"b": deque([1])}]}, r"state\['a'\]\[1\]\['b'\] is a deque"),
        ((1, datetime(2024, 1, 2, tzinfo=UTC)), r"state\[1\] is a datetime"),
        ({(1, 2): 3}, "state is a dict"),
        (np.zeros(3), "state is a ndarray"),
        (object(), "state is a object"),
    ],
)
def test_anything_else_is_refused_with_its_place(value: Any, place: str) -> None:
    """And with what may be used."""
    with pytest.raises(DataError, match=f"{place}.*a state is made of"):
        to_bytes(value)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x92\x01", to_bytes(Decimal(1))[:-1] + b"x"])
def test_bytes_that_are_no_plain_data_are_refused(data: bytes) -> None:
    """In one sentence."""
    with pytest.raises(DataError, match="not plain data"):
        from_bytes(data)
