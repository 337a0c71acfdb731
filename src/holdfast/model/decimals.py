"""The arithmetic of money and quantity, and how its numbers are written.

Prices and quantities have nine decimals at most, so products have eighteen; sixty digits leave
forty-two before the point. Whoever rounds does it by name (``quantize``), never by accident.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, getcontext, setcontext

DIGITS = 60
EXACT = Context(prec=DIGITS, rounding=ROUND_HALF_EVEN)


class Exact:
    """``with Exact():`` makes the context of this thread ``EXACT``, whatever the caller's is, and gives it back.

    Where it is already, nothing is done: a driver that makes half a million calls sets it once.
    """

    __slots__ = ("_outer",)

    def __enter__(self) -> None:
        self._outer = outer = getcontext()
        if outer is not EXACT:
            setcontext(EXACT)

    def __exit__(self, *_: object) -> None:
        if self._outer is not EXACT:
            setcontext(self._outer)


def plain(number: Decimal) -> str:
    """A Decimal for people and summaries: without exponent and without trailing zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
