"""Exact steps: a number moved to a multiple of an increment, down, up or to the nearest.

Market data is float64 and orders are Decimal; ``to_decimal`` is the one bridge. It goes through the
shortest text that names the float (``0.1`` becomes ``0.1``, not ``0.1000000000000000055``), which is the
price the venue printed.

All arithmetic names its context, so that a caller's precision cannot change a price.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation

from holdfast.model.decimals import EXACT
from holdfast.model.errors import OrderError

_ONE, _TWO = Decimal(1), Decimal(2)

Number = Decimal | int | float


def to_decimal(value: Number | str) -> Decimal:
    """The Decimal that a number or its text means.

    Raises:
        OrderError: The value is not a finite number.
    """
    if isinstance(value, Decimal):
        number = value
    else:
        try:
            number = Decimal(repr(float(value))) if isinstance(value, float) else Decimal(value)
        except (InvalidOperation, TypeError, ValueError):
            message = f"{value!r} is not a number"
            raise OrderError(message) from None
    if not number.is_finite():
        message = f"{value!r} is not a finite number"
        raise OrderError(message)
    return number


class Step:
    """An increment, and how to move numbers onto its multiples.

    Args:
        increment: Positive, e.g. ``Decimal("0.01")``.

    Raises:
        OrderError: The increment is not a positive number.
    """

    __slots__ = ("_exponent", "increment")

    def __init__(self, increment: Number | str) -> None:
        number = to_decimal(increment)
        if number <= 0:
            message = f"an increment must be positive, got {number}"
            raise OrderError(message)
        self.increment = number
        digits = number.normalize(EXACT)
        # A power of ten can be reached with one quantize, which is several times faster than dividing.
        self._exponent = digits if digits.as_tuple().digits == (1,) and digits <= 1 else None

    def __repr__(self) -> str:
        return f"Step({str(self.increment)!r})"

    def holds(self, value: Decimal) -> bool:
        """True where the value is a multiple of the increment."""
        if self._exponent is not None:
            return value.quantize(self._exponent, ROUND_FLOOR, EXACT) == value
        return not EXACT.remainder(value, self.increment)

    def down(self, value: Decimal) -> Decimal:
        """The greatest multiple that is not above the value."""
        if self._exponent is not None:
            return value.quantize(self._exponent, ROUND_FLOOR, EXACT)
        return self._count(value, ROUND_FLOOR)

    def up(self, value: Decimal) -> Decimal:
        """The smallest multiple that is not below the value."""
        if self._exponent is not None:
            return value.quantize(self._exponent, ROUND_CEILING, EXACT)
        return self._count(value, ROUND_CEILING)

    def nearest(self, value: Decimal) -> Decimal:
        """The nearest multiple; a tie goes to the even one, so that ties lean neither way."""
        if self._exponent is not None:
            return value.quantize(self._exponent, ROUND_HALF_EVEN, EXACT)
        return self._count(value, ROUND_HALF_EVEN)

    def _count(self, value: Decimal, rounding: str) -> Decimal:
        # The whole steps and what is left over are both exact; a plain division need not be.
        whole, rest = EXACT.divmod(value, self.increment)
        if rest < 0:
            whole, rest = EXACT.subtract(whole, _ONE), EXACT.add(rest, self.increment)
        if rounding == ROUND_HALF_EVEN:
            twice = EXACT.add(rest, rest)
            above = twice > self.increment or (twice == self.increment and bool(EXACT.remainder(whole, _TWO)))
        else:
            above = rounding == ROUND_CEILING and bool(rest)
        return EXACT.multiply(EXACT.add(whole, _ONE) if above else whole, self.increment)
