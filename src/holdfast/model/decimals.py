"""The arithmetic of money and quantity.

Prices and quantities have nine decimals at most, so products have eighteen; sixty digits leave
forty-two before the point. Whoever rounds does it by name (``quantize``), never by accident.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context

EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
