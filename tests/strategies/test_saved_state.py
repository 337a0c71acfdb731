"""Strategies that are shipped go on from their saved state as if nothing had happened: warm-up is part of it (P8)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.kernel import Kernel
from holdfast.kernel.state import decode_state, encode_state
from holdfast.risk import PreTradeRiskGate
from holdfast.risk.protections import ProtectionManager
from holdfast.strategies import Strategy, VwapMeanReversion
from holdfast.time import FixedSessions
from tests.kernel.helpers import SPY
from tests.strategies.helpers import CLOSE, OPEN, Tape


def vwap() -> Strategy:
    """One that trades often."""
    return VwapMeanReversion([SPY], quantity=10, deviations=1.0, warmup_bars=3, time_stop_bars=4)


def dip() -> Strategy:
    """The example's, from its file."""
    path = Path(__file__).resolve().parents[2] / "examples" / "own_strategy.py"
    spec = importlib.util.spec_from_file_location("own_strategy", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.Dip([SPY], bars=5, dip=0.001)
    assert isinstance(made, Strategy)
    return made


_ROWS = st.lists(
    st.tuples(st.integers(950, 1050).map(lambda cents: cents / 10), st.sampled_from([0.0, 50.0, 200.0])),
    min_size=4,
    max_size=90,
)


@pytest.mark.parametrize("make", [vwap, dip])
def test_p8_it_goes_on_from_its_saved_state(make: Callable[[], Strategy]) -> None:
    """Saved after any bar of any day, in a position or out of it."""

    @settings(max_examples=60)
    @given(rows=_ROWS, cut=st.floats(0, 1))
    def check(rows: list[tuple[float, float]], cut: float) -> None:
        tape = Tape(make())
        at = round(len(rows) * cut)
        tape.play(rows[:at])
        state = tape.kernel.save_state()
        assert state is not None, tape.kernel.unsaved()
        kernel = Kernel(
            [make()],
            protections=ProtectionManager(),
            gate=PreTradeRiskGate(),
            sessions_for=lambda _: FixedSessions(OPEN, CLOSE),
        )
        kernel.load_state(decode_state(encode_state(state)))
        shown = len(tape.shown)
        tape.play(rows[at:])
        for event, commands in tape.shown[shown:]:
            assert list(kernel.handle(event)) == commands
        assert kernel.state_hash() == tape.kernel.state_hash()

    check()
