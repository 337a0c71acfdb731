"""Two recordings side by side: every difference with its place, as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from holdfast.certify.recording import Recording

_ABSENT = "<absent>"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that one venue said and the other did not.

    Attributes:
        step: Of the script; for a stream message ``stream: ORDER``.
        where: ``HTTP status``, or the field of the answer.
        yours: What the venue that is certified said.
        venue: What the built-in one says.
    """

    step: str
    where: str
    yours: Any
    venue: Any


def compare(yours: Recording, venue: Recording) -> list[Difference]:
    """Every difference, in the order of the script."""
    found = list(_values("stream", "handshake", list(yours.handshake), list(venue.handshake)))
    mine, theirs = ({step.name: step for step in side.steps} for side in (yours, venue))
    for name in dict.fromkeys([*theirs, *mine]):
        if name not in mine or name not in theirs:
            found.append(Difference(step=name, where="step", yours=_asked(name in mine), venue=_asked(name in theirs)))
            continue
        one, other = mine[name], theirs[name]
        if one.status != other.status:
            # Two answers of different kinds have nothing in common but that they say something.
            found.append(Difference(step=name, where="HTTP status", yours=one.status, venue=other.status))
            found += _values(name, "message", _message(one.answer), _message(other.answer))
        else:
            found += _values(name, "", one.answer, other.answer)
    for order in dict.fromkeys([*venue.events, *yours.events]):
        if order not in yours.events or order not in venue.events:
            continue  # its step differs
        found += _events(f"stream: {order}", yours.events[order], venue.events[order])
    found += [Difference(step="times", where="", yours=said, venue="<possible>") for said in yours.times]
    if yours.finished is not venue.finished:
        found.append(Difference(step="script", where="finished", yours=yours.finished, venue=venue.finished))
    return found


def _events(step: str, yours: tuple[Any, ...], venue: tuple[Any, ...]) -> Iterator[Difference]:
    """The sequence first; what the messages say only where it is the same."""
    mine, theirs = ([event.get("event") for event in side] for side in (yours, venue))
    if mine != theirs:
        yield Difference(step=step, where="sequence", yours=mine, venue=theirs)
        return
    for kind, one, other in zip(theirs, yours, venue, strict=True):
        yield from _values(step, str(kind), one, other)


def _values(step: str, where: str, one: Any, other: Any) -> Iterator[Difference]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            place = f"{where}.{key}" if where else key
            yield from _values(step, place, one.get(key, _ABSENT), other.get(key, _ABSENT))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from _values(step, f"{where}[{index}]", left, right)
    elif one != other or type(one) is not type(other):
        yield Difference(step=step, where=where, yours=one, venue=other)


def _message(answer: Any) -> Any:
    return answer.get("message", _ABSENT) if isinstance(answer, dict) else _ABSENT


def _asked(was: bool) -> str:
    return "asked" if was else "not asked"
