"""Hypothesis strategies for every message type, made from the types themselves."""

from __future__ import annotations

import types
from decimal import Decimal
from enum import Enum
from typing import Any, Union, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from holdfast.model.commands import Command
from holdfast.model.events import Event

_TEXT = st.text(max_size=20)
# Money and quantities as they occur, and the odd exponent that JSON may bring.
_DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15) | st.sampled_from(
    [Decimal("1E+3"), Decimal("0E-9"), Decimal("-0"), Decimal("0.000000001")]
)
_PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: _TEXT,
    int: st.integers(-(2**63), 2**63 - 1),
    float: st.floats(allow_nan=False),
    bool: st.booleans(),
    Decimal: _DECIMALS,
    type(None): st.none(),
}


def of_type(kind: Any, within: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    """Values of a type that a message is made of. One that holds values of its own type holds two layers of them at most."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if get_origin(kind) in (Union, types.UnionType):
        return st.one_of([of_type(argument, within) for argument in get_args(kind)])
    if get_origin(kind) is tuple:
        member = get_args(kind)[0]
        return st.just(()) if within.count(member) > 1 else st.lists(of_type(member, within), max_size=3).map(tuple)
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    fields = msgspec.structs.fields(kind)
    return st.tuples(*(of_type(field.type, (*within, kind)) for field in fields)).map(
        lambda values: kind(**{field.name: value for field, value in zip(fields, values, strict=True)})
    )


EVENTS: st.SearchStrategy[Event] = st.one_of([of_type(kind) for kind in get_args(Event)])
COMMANDS: st.SearchStrategy[Command] = st.one_of([of_type(kind) for kind in get_args(Command)])
