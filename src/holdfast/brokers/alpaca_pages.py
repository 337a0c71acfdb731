"""Lists of the venue: walked page by page, read row by row.

One row that cannot be read takes none of its neighbours with it. It is logged whole, counted, left out, and told to
whoever listens (``AlpacaConnector.on_malformed``; the bot has its books compared then). A row that is the same every time
is told once, or the comparison that it asks for would ask for the next one.

The exception is positions: a row that names no symbol or no quantity fails the whole list, because a position that is
left out looks exactly like one that is not there, and an exit would be cut down to nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import structlog

from holdfast.brokers.alpaca_wire import MalformedMessageError
from holdfast.model.errors import OutcomeUnknownError

T = TypeVar("T")
Row = dict[str, Any]
#: Told of each new row that could not be read: why, and the row as it came.
OnMalformed = Callable[[str, object], object]

_REMEMBERED = 1_000
_log = structlog.get_logger(__name__)


class Rows:
    """Reads lists row by row.

    Attributes:
        malformed: How many rows could not be read.
    """

    def __init__(self) -> None:
        self.malformed = 0
        self._handlers: list[OnMalformed] = []
        self._told: dict[int, None] = {}

    def on_malformed(self, handler: OnMalformed) -> None:
        """Tell it of each row that could not be read; the same row is told once."""
        self._handlers.append(handler)

    def read(self, rows: Iterable[Row], reader: Callable[[Row], T], *, tell: bool = True) -> list[T]:
        """What ``reader`` makes of each row, without those of which it makes nothing."""
        found = []
        for row in rows:
            try:
                found.append(reader(row))
            except MalformedMessageError as error:
                self.skip(error.message, row, tell=tell)
        return found

    def skip(self, reason: str, row: object, *, tell: bool = True) -> None:
        """One row is left out."""
        self.malformed += 1
        _log.error("alpaca.row_left_out", reason=reason, row=row)
        identity = hash(repr(row))
        if not tell or identity in self._told:
            return
        self._told[identity] = None
        if len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]
        for handler in self._handlers:
            handler(reason, row)

    async def walk(
        self,
        page_after: Callable[[str | None], Awaitable[list[Row]]],
        *,
        size: int,
        what: str,
        key: Callable[[Row], str] = lambda row: str(row["id"]),
    ) -> list[Row]:
        """All rows of all pages, each once, in the venue's order.

        Args:
            page_after: The page that follows the row with this id; the first one for None.
            size: A page with fewer rows is the last one.
            what: For whoever reads the error: "orders".
            key: What makes two rows the same one.

        Raises:
            MalformedMessageError: The pages do not move on.
        """
        rows: dict[str, Row] = {}
        last: str | None = None
        while True:
            page = await page_after(last)
            named = [row for row in page if has_id(row)]
            for row in page:
                if not has_id(row):
                    self.skip(f"the venue sent one of its {what} without an id", row)
            new = {key(row): row for row in named}
            if page and len(page) >= size and new.keys() <= rows.keys():
                raise stuck(page, what)
            rows |= new
            if len(page) < size:
                return list(rows.values())
            last = named[-1]["id"]


def has_id(row: object) -> bool:
    """Whether this is an object with an id."""
    return isinstance(row, Mapping) and isinstance(row.get("id"), str) and bool(row["id"])


def params(**values: str | None) -> dict[str, str]:
    """A query without what is not given."""
    return {name: value for name, value in values.items() if value is not None}


def escaped(part: str) -> str:
    """A path segment: the slash of "BTC/USD" must not become a path of its own."""
    return quote(part, safe="")


def as_object(payload: Any, what: str) -> Row:
    """The payload, which must be a JSON object.

    Raises:
        MalformedMessageError: It is none.
    """
    if not isinstance(payload, dict):
        message = f"the venue sent {type(payload).__name__} where {what} was expected"
        raise MalformedMessageError(message, payload)
    return payload


def as_list(payload: Any, what: str) -> list[Row]:
    """The payload, which must be a JSON array. Its rows may be anything.

    Raises:
        MalformedMessageError: It is none.
    """
    if not isinstance(payload, list):
        message = f"the venue sent {type(payload).__name__} where {what} was expected"
        raise MalformedMessageError(message, payload)
    return payload


def stuck(page: object, what: str) -> OutcomeUnknownError:
    """Paging that would never end."""
    return MalformedMessageError(f"the venue's paging of {what} does not move on: it sent the same page twice", page)
