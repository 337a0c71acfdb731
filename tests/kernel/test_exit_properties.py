"""Laws of exits, over random histories of a kernel and an unreliable venue (see ``tests.kernel.world``)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernel.helpers import SPY
from tests.kernel.world import ACTIONS, VENUE, World

_HISTORIES = st.lists(st.tuples(st.sampled_from([*ACTIONS, *VENUE]), st.integers(0, 99)), min_size=20, max_size=80)


@settings(max_examples=200)
@given(history=_HISTORIES)
def test_reducing_orders_together_never_flip_the_position(history: list[tuple[str, int]]) -> None:
    """P2, P7: at every moment of every history, however little the kernel was told; and no id is sent twice."""
    world = World()
    for name, choice in history:
        world.step(name, choice)


@settings(max_examples=200)
@given(history=_HISTORIES)
def test_when_faults_stop_everything_is_settled_and_the_books_agree(history: list[tuple[str, int]]) -> None:
    """P3, P4, P9: no outcome stays unknown, no exit waits for ever, and our position is the venue's."""
    world = World()
    for name, choice in history:
        world.step(name, choice)
    for _ in range(2):  # the first may have found an exit of the history under way, with a limit that rests
        world.step("exit", 0)
        world.settle()
    kernel = world.bench.kernel
    assert kernel.portfolio.tracker.unknown_orders() == []
    assert kernel.portfolio.tracker.orders_with_missing_fills() == []
    assert kernel.portfolio.book(SPY).exit is None
    assert world.bench.position() == world.position
    assert kernel.reconciliation.drift == ()
    assert world.position == 0
