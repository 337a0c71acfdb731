"""What a trade's sale conditions let it do to a bar: one table for both consolidated tapes.

The two processors (CTA for tapes A and B, UTP for tape C) tell their subscribers, condition by condition, whether a trade
updates the high and low, the last price and the volume; vendors follow that for bars. A condition may also say "only if
nothing else did": a price that is out of sequence or derived from another one is better than none at all.

One deviation, which Massive documents and everybody needs: before the open and after the close nearly every trade is
marked Form T, which may set no price; so outside the regular session it may.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, NamedTuple


class Sets(IntEnum):
    """Whether a trade sets the open and the close of a bar. The least of a trade's conditions counts."""

    NEVER = 0
    IF_ALONE = 1
    ALWAYS = 2


class Effect(NamedTuple):
    """What a trade may do to a bar."""

    open_close: Sets
    high_low: bool
    volume: bool


REGULAR: Final = Effect(Sets.ALWAYS, high_low=True, volume=True)
_IF_ALONE: Final = Effect(Sets.IF_ALONE, high_low=True, volume=True)
_VOLUME_ONLY: Final = Effect(Sets.NEVER, high_low=False, volume=True)
_NOTHING: Final = Effect(Sets.NEVER, high_low=False, volume=False)
_PRICE_ONLY: Final = Effect(Sets.ALWAYS, high_low=True, volume=False)

#: A mark that nobody has listed counts for the volume and sets no price.
UNLISTED: Final = _VOLUME_ONLY
FORM_T: Final = "T"

_BOTH_TAPES: Final[Mapping[str, Effect]] = {
    "@": REGULAR,
    " ": REGULAR,
    "A": REGULAR,  # acquisition
    "D": REGULAR,  # distribution
    "F": REGULAR,  # intermarket sweep
    "K": REGULAR,  # rules 127 and 155
    "L": REGULAR,  # sold last
    "O": REGULAR,  # opening print
    "S": REGULAR,  # split trade
    "X": REGULAR,  # cross
    "Y": REGULAR,  # yellow flag
    "1": REGULAR,  # stopped stock
    "2": REGULAR,  # stopped stock, sold last
    "5": REGULAR,  # reopening print
    "6": REGULAR,  # closing print
    "G": _IF_ALONE,  # bunched, sold
    "P": _IF_ALONE,  # prior reference price
    "R": _IF_ALONE,  # seller
    "Z": _IF_ALONE,  # sold out of sequence
    "3": _IF_ALONE,  # stopped stock, out of sequence
    "4": _IF_ALONE,  # derivatively priced
    "C": _VOLUME_ONLY,  # cash
    "H": _VOLUME_ONLY,  # price variation
    "I": _VOLUME_ONLY,  # odd lot
    "N": _VOLUME_ONLY,  # next day
    "T": _VOLUME_ONLY,  # Form T: see the module
    "U": _VOLUME_ONLY,  # extended hours, out of sequence
    "V": _VOLUME_ONLY,  # contingent
    "W": _VOLUME_ONLY,  # average price
    "7": _VOLUME_ONLY,  # qualified contingent
    "M": _NOTHING,  # a market centre's official close: a statement, no trade
    "Q": _NOTHING,  # its official open, likewise
    "9": _PRICE_ONLY,  # corrected consolidated close
}
# The two letters that mean different things.
_CTA: Final = {**_BOTH_TAPES, "B": _VOLUME_ONLY, "E": REGULAR}  # average price; automatic execution
_UTP: Final = {**_BOTH_TAPES, "B": REGULAR, "E": _VOLUME_ONLY}  # bunched; reserved
TAPES: Final[Mapping[str, Mapping[str, Effect]]] = {"A": _CTA, "B": _CTA, "C": _UTP}

#: Massive's numbers -> the tape's marks. Those that are left out say nothing that matters to a bar.
POLYGON_MARKS: Final[Mapping[int, str]] = {
    0: "@", 1: "A", 2: "W", 3: "@", 4: "@", 5: "G", 7: "C", 8: "6", 9: "X", 10: "4", 11: "D", 12: "T", 13: "U", 14: "F",
    15: "M", 16: "Q", 20: "N", 21: "H", 22: "P", 23: "K", 25: "O", 27: "1", 28: "5", 29: "R", 30: "L", 33: "Z", 34: "S",
    36: "Y", 37: "I", 38: "9", 52: "V", 53: "7",
}  # fmt: skip


def effect_of(tape: str, conditions: str, *, in_session: bool) -> Effect:
    """What a trade with these marks may do. Without a tape (crypto) every trade counts in full.

    Args:
        tape: ``A``, ``B`` or ``C``; anything else is no consolidated tape.
        conditions: One mark a condition.
        in_session: Whether its bar lies in the regular session.
    """
    table = TAPES.get(tape)
    if table is None or not conditions:
        return REGULAR
    if not in_session:
        conditions = conditions.replace(FORM_T, "@")
    effects = [table.get(mark, UNLISTED) for mark in conditions]
    return Effect(
        min(effect.open_close for effect in effects),
        high_low=all(effect.high_low for effect in effects),
        volume=all(effect.volume for effect in effects),
    )
