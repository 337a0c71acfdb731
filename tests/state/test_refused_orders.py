"""A refusal is an answer to a request, and not the venue's word on the order."""

from __future__ import annotations

import pytest

from holdfast.model import OrderStatus as S
from holdfast.model import Source
from holdfast.state.order_machine import OPEN, OrderEvent
from holdfast.state.order_tracker import DiscrepancyKind, OrderTracker
from tests.state.test_order_tracker import Makers, kinds

STREAM = Source.STREAM


@pytest.mark.parametrize("word", [S.NEW, S.PARTIALLY_FILLED, S.CANCELED, S.FILLED])
def test_an_order_that_an_error_answer_refused_and_that_the_venue_has_follows_its_word(make: Makers, word: S) -> None:
    """P2: errors have been answered although the order was placed. It is open again, and people are told."""
    tracker = OrderTracker()
    order = tracker.track(make.intent())
    tracker.apply("A", OrderEvent.REFUSED, 2, "403: insufficient buying power")
    tracker.apply_report(make.report(word), STREAM, 3)
    assert (order.status, order.broker_id) == (word, "B-A")
    assert tracker.open_orders() == ([order] if word in OPEN else [])
    assert kinds(tracker) == [DiscrepancyKind.REOPENED]


def test_an_execution_reopens_a_refused_order_too(make: Makers) -> None:
    """P3: it is counted, and the rest of the order is watched."""
    tracker = OrderTracker()
    order = tracker.track(make.intent())
    tracker.apply("A", OrderEvent.REFUSED, 2, "403: insufficient buying power")
    assert tracker.apply_execution(make.execution("e1", 1, cum=1)) is order
    assert order.status is S.PARTIALLY_FILLED
    assert kinds(tracker) == [DiscrepancyKind.REOPENED]


def test_a_refused_order_that_the_venue_also_calls_rejected_stays_rejected(make: Makers) -> None:
    """P5: the two agree; from then on nothing reopens it."""
    tracker = OrderTracker()
    order = tracker.track(make.intent())
    tracker.apply("A", OrderEvent.REFUSED, 2, "403: insufficient buying power")
    tracker.apply_report(make.report(S.REJECTED), STREAM, 3)
    tracker.apply_report(make.report(S.NEW), STREAM, 4)
    assert order.status is S.REJECTED
    assert kinds(tracker) == []
