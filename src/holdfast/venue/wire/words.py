"""The words of Alpaca's JSON, both ways: amounts, times, ids, flags, page tokens.

Outward, amounts of account, orders, positions and activities are JSON strings and market data are JSON
numbers; times are RFC 3339. Inward, amounts may be strings or numbers, exponents included (alpaca-py
sends ``1e-09``). Pure functions: nothing here knows sockets or the engine's inner life.
"""

from __future__ import annotations

import base64
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from holdfast.model.errors import DataError
from holdfast.model.timestamps import NS_PER_MS, format_rfc3339, parse_rfc3339, to_datetime, to_ns
from holdfast.venue.matching.orders import Refusal
from holdfast.venue.matching.refusals import refuse_invalid
from holdfast.venue.matching.rules import Rule

Json = dict[str, Any]
_Word = TypeVar("_Word", bound=StrEnum)

NEW_YORK: Final = ZoneInfo("America/New_York")
_NAMESPACE: Final = uuid.UUID("3b1f4f0e-5d0a-5c1e-9d51-0f6f1c9e7a11")  # of every id below that is derived from a name
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BITS_32, _BITS_48 = (1 << 32) - 1, (1 << 48) - 1
_BODY_DIGITS: Final = 64  # longer numbers are no amounts; refusing them keeps Decimal arithmetic small
_LARGEST_EXPONENT: Final = 30
_FAR: Final = 1 << 62  # about the year 2116: times beyond are as good as "ever", and fit into 64 bits

decode_json = msgspec.json.Decoder(strict=True, float_hook=Decimal).decode
encode_json = msgspec.json.Encoder(decimal_format="string").encode


def amount(value: Decimal) -> str:
    """A Decimal as plain digits: no exponent, no trailing zeros."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def optional_amount(value: Decimal | None) -> str | None:
    """As ``amount``; None stays null."""
    return None if value is None else amount(value)


def optional_time(ns: int | None) -> str | None:
    """A moment as RFC 3339; None stays null."""
    return None if ns is None else format_rfc3339(ns)


def new_york_time(ns: int) -> str:
    """A moment as RFC 3339 with New York's offset, as the clock endpoint writes it."""
    return to_datetime(ns).astimezone(NEW_YORK).isoformat()


def derived_id(kind: str, name: str) -> str:
    """A UUID that is always the same for the same thing."""
    return str(uuid.uuid5(_NAMESPACE, f"{kind}:{name}"))


def slashless(symbol: str) -> str:
    """``BTC/USD`` as positions write it: ``BTCUSD``."""
    return symbol.replace("/", "")


def event_id(at: int, number: int, namespace: int) -> str:
    """A ULID: 48 bits of milliseconds, 32 of the event's number, 48 of whose it is. An account's ids sort in order."""
    value = (at // NS_PER_MS & _BITS_48) << 80 | (number & _BITS_32) << 48 | namespace & _BITS_48
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))


def is_event_id(text: str) -> bool:
    """Whether a text has the form of a ULID."""
    return len(text) == 26 and text[0] in _CROCKFORD[:8] and set(text) <= set(_CROCKFORD)


def moment_of(event: str) -> int:
    """The end of the millisecond that a ULID names (UTC ns)."""
    milliseconds = 0
    for letter in event[:10]:
        milliseconds = milliseconds << 5 | _CROCKFORD.index(letter)
    return (milliseconds + 1) * NS_PER_MS - 1


def refusal_json(refusal: Refusal) -> Json:
    """The body of an error; the extras may not hide code and message."""
    return {**refusal.extras, "code": refusal.code, "message": refusal.message}


def ratio(part: Decimal, whole: Decimal) -> str:
    """A fraction to nine decimals; 0 of nothing."""
    return amount(round(part / whole, 9)) if whole else "0"


def parse_amount(value: object, name: str) -> Decimal:
    """A quantity or price from a string or a number.

    Raises:
        Refusal: It is neither, or no finite amount.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        refuse_invalid(f"{name} must be a number")
    text = str(value)
    try:
        parsed = Decimal(text)
    except InvalidOperation:
        refuse_invalid(f"{name} must be a number, got {text[:40]!r}")
    if (
        not parsed.is_finite()
        or len(parsed.as_tuple().digits) > _BODY_DIGITS
        or abs(parsed.adjusted()) > _LARGEST_EXPONENT
    ):
        refuse_invalid(f"{name} must be a number of ordinary size, got {text[:40]!r}")
    return parsed


def parse_word(words: type[_Word], body: Json, key: str, name: str) -> _Word:
    """The member of an enumeration that a body names.

    Raises:
        Refusal: It names none.
    """
    if key not in body:
        refuse_invalid(f"{key} is required")
    try:
        return words(body[key])
    except ValueError:
        raise Rule.WORD_UNKNOWN.refusal(word=name) from None


def parse_time(text: str, name: str) -> int:
    """A moment (UTC ns) from RFC 3339 or a bare date, which means midnight in New York.

    Raises:
        Refusal: It is neither.
    """
    try:
        if len(text) == 10:
            day = date.fromisoformat(text)
            ns = to_ns(datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).astimezone(UTC))
        else:
            # A plus sign that was not escaped in a query arrives as a space.
            ns = parse_rfc3339(text.replace(" ", "+"))
    except (DataError, ValueError, OverflowError):
        refuse_invalid(f"{name} must be an RFC 3339 time or a date, got {text[:40]!r}")
    return max(-_FAR, min(ns, _FAR))


def parse_flag(text: str) -> bool:
    """A boolean of a query: Python's and JSON's spellings."""
    return text.lower() in ("true", "1", "yes")


def encode_token(*parts: str) -> str:
    """An opaque page token."""
    return base64.urlsafe_b64encode(encode_json(parts)).decode("ascii")


def decode_token(token: str, parts: int) -> list[str]:
    """The parts of a page token that this venue gave.

    Raises:
        Refusal: It did not give it.
    """
    try:
        decoded = msgspec.json.decode(base64.urlsafe_b64decode(token.encode("ascii")), type=list[str])
    except (ValueError, msgspec.DecodeError):
        decoded = []
    if len(decoded) != parts:
        refuse_invalid("page_token is not one that this venue gave")
    return decoded
