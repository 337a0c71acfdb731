"""Query parameters that several endpoints share."""

from __future__ import annotations

from typing import Final

from holdfast.model.timestamps import NS_PER_DAY, to_datetime, to_ns
from holdfast.venue.http import Request
from holdfast.venue.matching.refusals import refuse_invalid
from holdfast.venue.wire.words import NEW_YORK, parse_time

_DIRECTIONS: Final = ("asc", "desc")


def day(text: str, name: str) -> int:
    """Midnight in New York of a date, or of the day of a time."""
    moment = parse_time(text, name)
    return to_ns(to_datetime(moment).astimezone(NEW_YORK).replace(hour=0, minute=0, second=0, microsecond=0))


def bounds(request: Request) -> tuple[int | None, int | None]:
    """``after`` and ``until``, or the day that ``date`` names."""
    query = request.query
    if query.get("date"):
        midnight = day(query["date"], "date")
        return midnight - 1, midnight + NS_PER_DAY
    after, until = query.get("after"), query.get("until")
    return (
        parse_time(after, "after") if after else None,
        parse_time(until, "until") if until else None,
    )


def direction(request: Request) -> str:
    """``asc`` or ``desc``, which is the default.

    Raises:
        Refusal: It is neither.
    """
    direction = request.query.get("direction") or "desc"
    if direction not in _DIRECTIONS:
        refuse_invalid(f"invalid direction: {direction}")
    return direction


def words(text: str) -> list[str]:
    """The parts of a list with commas, without the empty ones."""
    return [word.strip() for word in text.split(",") if word.strip()]
