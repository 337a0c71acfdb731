"""Saying no, in one word: each function raises the ``Refusal`` of its kind, with the text for the client."""

from __future__ import annotations

from typing import NoReturn

from holdfast.venue.matching.orders import Refusal, invalid, not_found, unprocessable

#: Code of the market-data API's refusals, which are 400.
BAD_DATA_REQUEST = 40010000


def refuse(status: int, code: int, message: str) -> NoReturn:
    """Refuse with a status and code of its own."""
    raise Refusal(status, code, message)


def refuse_invalid(message: str) -> NoReturn:
    """422: the request itself is malformed."""
    raise invalid(message)


def refuse_unprocessable(message: str) -> NoReturn:
    """422: well formed, and cannot be carried out."""
    raise unprocessable(message)


def refuse_missing(message: str) -> NoReturn:
    """404: there is no such thing."""
    raise not_found(message)
