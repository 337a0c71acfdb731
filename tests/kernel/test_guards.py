"""The list of guards is the signal path's own: no name that it can refuse with is missing."""

from __future__ import annotations

import ast
import inspect
from datetime import timedelta

from holdfast.kernel import signal_path
from holdfast.kernel.guards import OPENING, REDUCING, REPLACING, guards_asked
from holdfast.model import GuardMode
from holdfast.risk import PreTradeRiskGate, RiskLimits
from holdfast.risk.protections import CooldownPeriod, ProtectionManager


def refusals(source: str) -> set[str]:
    """The names in quotes with which ``_refuse`` is called, and the constants of the module."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "_refuse":
            guard = node.args[2]
            if isinstance(guard, ast.Constant):
                names.add(str(guard.value))
            elif isinstance(guard, ast.Name):
                names.add(str(getattr(signal_path, guard.id)))
    return names


def test_every_refusal_of_the_signal_path_is_in_the_list() -> None:
    """Whoever adds a guard to the path adds it to the list."""
    found = refusals(inspect.getsource(signal_path))
    assert len(found) >= 8
    assert found - {*OPENING, *REDUCING, *REPLACING} == set()


def test_a_guard_that_is_missing_is_found() -> None:
    """The checker above can fail."""
    assert refusals("self._refuse(signal, stage, 'invented', reason)") - {*OPENING, *REDUCING} == {"invented"}


def test_modes_and_limits_decide_which_are_asked() -> None:
    """What is off is not asked, nor what has no limit; exits are asked less."""
    protections = ProtectionManager(
        [
            CooldownPeriod(cooldown_duration=timedelta(minutes=5), mode="observe"),
            CooldownPeriod(cooldown_duration=timedelta(minutes=5), mode="off", name="other"),
        ]
    )
    gate = PreTradeRiskGate(RiskLimits(max_open_orders=3, modes={"open_orders": GuardMode.OBSERVE}))
    asked = guards_asked(protections, gate, reduce_only=False)
    modes = {guard.name: guard.mode for guard in asked}

    assert modes["cooldown_period"] is modes["open_orders"] is GuardMode.OBSERVE
    assert modes["trading_state"] is GuardMode.ENFORCE
    assert not {"other", "daily_loss"} & set(modes)
    assert [guard.name for guard in guards_asked(protections, gate, reduce_only=True)] == [
        *("signal", "nothing_to_reduce", "trading_state"),
        *("exit_waits", "exit_in_flight", "wrong_side", "nothing_at_venue", "symbol_rules"),
    ]
