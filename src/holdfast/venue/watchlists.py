"""An account's watchlists: named lists of symbols, which trade nothing and which some programs keep their universe in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Literal

import msgspec

from holdfast.venue.matching.refusals import refuse_invalid, refuse_missing
from holdfast.venue.wire.words import derived_id

NAME_LENGTH_MAX: Final = 64
#: Ours: no account needs more, and memory is bounded.
WATCHLISTS_MAX: Final = 200


class WatchlistChange(msgspec.Struct, frozen=True, gc=False):
    """What is to be done: an input of the book.

    Attributes:
        kind: ``update`` takes the name and symbols that are given, ``add`` and ``remove`` the first symbol.
        id: Of which list; empty for a new one.
        name: The list's name, or none.
        symbols: Known symbols, or None where the list keeps its own.
    """

    kind: Literal["create", "update", "add", "remove", "delete"]
    id: str = ""
    name: str | None = None
    symbols: tuple[str, ...] | None = None


class Watchlist(msgspec.Struct, frozen=True, gc=False):
    """One list; times are UTC ns."""

    id: str
    name: str
    symbols: tuple[str, ...]
    created_at: int
    updated_at: int


class Watchlists:
    """The lists of one account, in the order in which they were made.

    Args:
        owner: Makes their ids its own.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._lists: dict[str, Watchlist] = {}
        self._made = 0
        self._kinds: dict[str, Callable[[WatchlistChange, int], Watchlist]] = {
            "create": self._create,
            "update": self._update,
            "add": self._add,
            "remove": self._remove,
            "delete": self._delete,
        }

    def __iter__(self) -> Iterator[Watchlist]:
        """All lists."""
        return iter(self._lists.values())

    def get(self, watchlist_id: str) -> Watchlist:
        """The list of this id.

        Raises:
            Refusal: There is none.
        """
        found = self._lists.get(watchlist_id.lower())
        if found is None:
            refuse_missing("watchlist not found")
        return found

    def named(self, name: str) -> Watchlist:
        """The list of this name.

        Raises:
            Refusal: There is none.
        """
        found = next((one for one in self._lists.values() if one.name == name), None)
        if found is None:
            refuse_missing("watchlist not found")
        return found

    def apply(self, change: WatchlistChange, now: int) -> Watchlist:
        """Carry out a change; gives the list as it is after it.

        Raises:
            Refusal: It cannot be; nothing has changed.
        """
        return self._kinds[change.kind](change, now)

    def _create(self, change: WatchlistChange, now: int) -> Watchlist:
        if len(self._lists) >= WATCHLISTS_MAX:
            refuse_invalid(f"an account keeps at most {WATCHLISTS_MAX} watchlists")
        name = self._free_name(change.name, "")
        number = self._made + 1
        made = Watchlist(derived_id("watchlist", f"{self._owner}:{number}"), name, _distinct(change.symbols), now, now)
        self._made = number
        return self._put(made)

    def _update(self, change: WatchlistChange, now: int) -> Watchlist:
        old = self.get(change.id)
        name = old.name if change.name is None else self._free_name(change.name, old.id)
        symbols = old.symbols if change.symbols is None else _distinct(change.symbols)
        return self._put(msgspec.structs.replace(old, name=name, symbols=symbols, updated_at=now))

    def _add(self, change: WatchlistChange, now: int) -> Watchlist:
        old = self.get(change.id)
        symbols = _distinct((*old.symbols, *(change.symbols or ())))
        return self._put(msgspec.structs.replace(old, symbols=symbols, updated_at=now))

    def _remove(self, change: WatchlistChange, now: int) -> Watchlist:
        old = self.get(change.id)
        gone = change.symbols or ()
        if not set(gone) <= set(old.symbols):
            refuse_missing("symbol not found in the watchlist")
        left = tuple(symbol for symbol in old.symbols if symbol not in gone)
        return self._put(msgspec.structs.replace(old, symbols=left, updated_at=now))

    def _delete(self, change: WatchlistChange, _now: int) -> Watchlist:
        return self._lists.pop(self.get(change.id).id)

    def _put(self, watchlist: Watchlist) -> Watchlist:
        self._lists[watchlist.id] = watchlist
        return watchlist

    def _free_name(self, name: str | None, own_id: str) -> str:
        if not name or len(name) > NAME_LENGTH_MAX:
            refuse_invalid(f"watchlist name must have 1 to {NAME_LENGTH_MAX} characters")
        if any(other.name == name and other.id != own_id for other in self._lists.values()):
            refuse_invalid("watchlist name must be unique")
        return name


def _distinct(symbols: tuple[str, ...] | None) -> tuple[str, ...]:
    if symbols and len(set(symbols)) < len(symbols):
        refuse_invalid("duplicate symbol")
    return symbols or ()
