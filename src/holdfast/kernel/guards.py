"""Which guards an order is asked, in which order: the signal path as a list of names, for whoever explains a verdict.

A verdict names the guard that decided. Those before it had passed, and which those are follows from the configuration:
nothing need be recorded for it, and nothing is done for it on an order's way.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from holdfast.kernel.signal_path import EXIT_IN_FLIGHT, EXIT_WAITS, NOT_REPLACEABLE, RULES_NOT_LOADED
from holdfast.model import GuardMode
from holdfast.risk import PreTradeRiskGate
from holdfast.risk.protections import ProtectionManager

# Names that stand for what is configured.
_PROTECTIONS, _GATE = "(protections)", "(gate)"
# As ``SignalPath`` asks them.
OPENING = (
    "signal",
    "no_flip",
    "exit_under_way",
    "exit_unknown",
    "account_blocked",
    "unverified_books",
    _PROTECTIONS,
    _GATE,
    RULES_NOT_LOADED,
    "symbol_rules",
)
REDUCING = (
    "signal",
    "nothing_to_reduce",
    _GATE,
    EXIT_WAITS,
    EXIT_IN_FLIGHT,
    "wrong_side",
    "nothing_at_venue",
    "symbol_rules",
)


# Asked between "signal" and all others of an order that is to take another one's place.
REPLACING = (NOT_REPLACEABLE,)


class Asked(msgspec.Struct, frozen=True):
    """A guard that was asked, and how much its word counts."""

    name: str
    mode: GuardMode


def guards_asked(
    protections: ProtectionManager, gate: PreTradeRiskGate, *, reduce_only: bool, replaces: bool = False
) -> tuple[Asked, ...]:
    """Every guard that an order is asked that passes them all."""
    names = REDUCING if reduce_only else OPENING
    if replaces:
        names = (*names[:1], *REPLACING, *names[1:])
    return tuple(_asked(protections, gate, names, reduce_only))


def _asked(
    protections: ProtectionManager, gate: PreTradeRiskGate, names: tuple[str, ...], reduce_only: bool
) -> Iterator[Asked]:
    for name in names:
        if name == _PROTECTIONS:
            for protection in protections.protections:
                if protection.mode is not GuardMode.OFF:
                    yield Asked(protection.name, protection.mode)
        elif name == _GATE:
            for check, enforced in gate.asked(reduce_only=reduce_only):
                yield Asked(check, GuardMode.ENFORCE if enforced else GuardMode.OBSERVE)
        else:
            yield Asked(name, GuardMode.ENFORCE)
