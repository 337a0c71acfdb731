"""How long to wait before trying again: exponential, capped, with full jitter.

Full jitter (a delay drawn evenly between nothing and the bound) spreads the returns of many
clients that lost the same server at the same moment; a bound plus a little noise would bring
them back together. This module owns ``random``: a delay is the one thing here that should not
be reproducible by default.
"""

from __future__ import annotations

import random  # noqa: TID251 - the module that owns it: see above
from math import isfinite

from holdfast.model.errors import ConfigurationError


class Backoff:
    """Delays between tries: evenly drawn from ``[0, min(cap, base * factor**n)]`` for the n-th try since the reset.

    Args:
        base: The bound of the first delay (seconds).
        cap: No delay is longer (seconds).
        factor: By how much the bound grows from try to try.
        rng: Where the draws come from; give a seeded one to reproduce them.

    Raises:
        ConfigurationError: Not ``0 < base <= cap`` and ``factor >= 1``.
    """

    def __init__(
        self,
        base: float = 1.0,
        cap: float = 30.0,
        factor: float = 2.0,
        rng: random.Random | None = None,
    ) -> None:
        if not (0 < base <= cap and isfinite(cap) and factor >= 1 and isfinite(factor)):
            message = f"back-off of base {base}, cap {cap}, factor {factor}; expected 0 < base <= cap and factor >= 1"
            raise ConfigurationError(message)
        self._base, self._cap, self._factor = base, cap, factor
        self._draw = (rng or random.Random()).uniform  # noqa: S311 - spreads clients in time; guards no secret
        self._bound = base
        self.tries = 0

    def next(self) -> float:
        """Seconds to wait before the next try."""
        bound = self._bound
        self._bound = min(self._cap, bound * self._factor)
        self.tries += 1
        return self._draw(0.0, bound)

    def reset(self) -> None:
        """It worked: begin again at ``base``."""
        self._bound, self.tries = self._base, 0
