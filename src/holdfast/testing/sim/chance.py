"""Chance that can be repeated: one seed, and a stream of its own for whoever draws.

Each stream depends on the seed and its name only, so that a new kind of fault does not change the prices, and a
draw more in one place moves nothing in another.
"""

from __future__ import annotations

import random  # noqa: TID251 - the simulator's only source of chance; every generator is seeded

Chance = random.Random


def stream(seed: int, name: str) -> Chance:
    """The generator of this name. Texts are hashed by SHA-512 here, not by the process's own salted hash."""
    return random.Random(f"holdfast-sim/{seed}/{name}")  # noqa: S311 - faults, not secrets
