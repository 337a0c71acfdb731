"""Time as integers: nanoseconds since the Unix epoch, UTC. Exact, fast to compare, and never naive."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from holdfast.model.errors import DataError

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_SECOND = 1_000_000_000
NS_PER_MINUTE = 60 * NS_PER_SECOND
NS_PER_HOUR = 60 * NS_PER_MINUTE
NS_PER_DAY = 24 * NS_PER_HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_ns(moment: datetime) -> int:
    """Nanoseconds since the epoch of an aware datetime.

    Raises:
        ValueError: The datetime is naive: it names no moment.
    """
    if moment.tzinfo is None:
        message = f"{moment!r} has no time zone; expected an aware datetime"
        raise ValueError(message)
    return (moment - _EPOCH) // _MICROSECOND * NS_PER_US


def to_datetime(ns: int) -> datetime:
    """The UTC datetime of a moment, to the microsecond below."""
    return _EPOCH + timedelta(microseconds=ns // NS_PER_US)


def delta_ns(delta: timedelta) -> int:
    """A timedelta in nanoseconds."""
    return delta // _MICROSECOND * NS_PER_US


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time with up to nine decimals, as venues write them.

    Raises:
        DataError: The text is not such a time, or carries no offset.
    """
    head, offset = text, ""
    if text[-1:] in ("Z", "z"):
        head, offset = text[:-1], "+00:00"
    elif len(text) > 6 and text[-6] in "+-" and text[-3] == ":":
        head, offset = text[:-6], text[-6:]
    whole, _, fraction = head.partition(".")
    try:
        if not offset or (fraction and not fraction.isdigit()) or len(fraction) > 9:
            raise ValueError  # noqa: TRY301 - one way out for every malformed text
        seconds = to_ns(datetime.fromisoformat(whole + offset))
    except ValueError:
        message = f"{text!r} is not an RFC 3339 time with an offset (expected e.g. 2024-01-02T14:30:00Z)"
        raise DataError(message) from None
    return seconds + int(fraction.ljust(9, "0") or "0")


def format_rfc3339(ns: int) -> str:
    """A moment as RFC 3339 in UTC, with as many decimals as it needs (none, or up to nine)."""
    seconds, rest = divmod(ns, NS_PER_SECOND)
    head = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{head}.{rest:09d}".rstrip("0") + "Z" if rest else head + "Z"
