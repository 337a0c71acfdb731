"""The table of an order's life, walked whole: every state against every event."""

from __future__ import annotations

import itertools

import pytest

from holdfast.model.enums import OrderStatus
from holdfast.model.errors import OrderError
from holdfast.state.order_machine import (
    ARRIVING,
    CLOSED,
    IN_FLIGHT,
    INFERRED_CLOSED,
    OPEN,
    TRANSITIONS,
    VENUE_CLOSED,
    VENUE_OPEN,
    VENUE_WORDS,
    WORD_EVENT,
    IllegalTransitionError,
    OrderEvent,
    OrderStateMachine,
    apply_venue,
    next_status,
    render_markdown,
    render_mermaid,
)

PRODUCT = list(itertools.product(OrderStatus, OrderEvent))
VENUE_EVENTS = frozenset(WORD_EVENT.values()) | {OrderEvent.EXECUTION, OrderEvent.LAST_EXECUTION}
LATE_ANSWERS = (OrderEvent.SUBMIT_UNKNOWN, OrderEvent.REFUSED, OrderEvent.RESTARTED)


def test_the_table_shows_every_state() -> None:
    """Every status has a row, in the order of the table's own sections."""
    assert set(TRANSITIONS) == set(OrderStatus)


def test_every_status_is_in_exactly_one_class() -> None:
    """In flight, open at the venue, closed by the venue, closed by inference: a partition."""
    for status in OrderStatus:
        classes = [status in group for group in (IN_FLIGHT, VENUE_OPEN, VENUE_CLOSED, INFERRED_CLOSED)]
        assert classes.count(True) == 1, status
    assert set(OrderStatus) == OPEN | CLOSED
    assert not OPEN & CLOSED
    assert ARRIVING < VENUE_OPEN


@pytest.mark.parametrize(("status", "event"), PRODUCT, ids=lambda value: value.value)
def test_a_move_is_in_the_table_or_an_error_that_names_state_and_event(status: OrderStatus, event: OrderEvent) -> None:
    """One lookup, and its miss is a clear error that changes nothing."""
    machine = OrderStateMachine(status)
    if event in TRANSITIONS[status]:
        assert machine.can(event)
        assert machine.apply(event) is TRANSITIONS[status][event]
        assert machine.status is next_status(status, event)
    else:
        assert not machine.can(event)
        with pytest.raises(IllegalTransitionError, match=f"{status.value!r}.*{event.value!r}") as caught:
            machine.apply(event)
        assert isinstance(caught.value, OrderError)
        assert machine.status is status


@pytest.mark.parametrize(("status", "event"), PRODUCT, ids=lambda value: value.value)
def test_a_venues_word_leads_to_the_state_of_its_name_unless_the_row_stays(
    status: OrderStatus, event: OrderEvent
) -> None:
    """Words mean themselves: no row may send one elsewhere."""
    target = TRANSITIONS[status].get(event)
    if target is not None and event.value in VENUE_WORDS:
        assert target.value == event.value


def test_what_the_venue_closed_stays_closed_whatever_happens() -> None:
    """No event of the table and no word by the tolerant rule leaves a state that the venue closed."""
    for status in VENUE_CLOSED:
        assert set(TRANSITIONS[status].values()) == {status}
        for word, lowers in itertools.product(OrderStatus, (False, True)):
            assert apply_venue(status, word, lowers_filled=lowers) is status


def test_late_answers_and_fills_are_legal_everywhere_after_the_venue_spoke() -> None:
    """A time-out, a refusal or a restart that is told late is no bug, and neither is a late fill."""
    for status in VENUE_OPEN | VENUE_CLOSED:
        for event in LATE_ANSWERS:
            assert TRANSITIONS[status][event] is status
        assert OrderEvent.EXECUTION in TRANSITIONS[status]
        assert OrderEvent.LAST_EXECUTION in TRANSITIONS[status]


def test_never_sent_is_reopened_by_every_evidence_of_the_venue() -> None:
    """What we inferred yields to what the venue shows, whatever it is."""
    for event in VENUE_EVENTS:
        assert TRANSITIONS[OrderStatus.NEVER_SENT][event] in VENUE_OPEN | VENUE_CLOSED
    for word in OrderStatus:
        assert apply_venue(OrderStatus.NEVER_SENT, word) in VENUE_OPEN | VENUE_CLOSED


def test_only_unknown_can_be_closed_as_never_sent_by_inference() -> None:
    """An order that the venue spoke of, or that may still be on the wire, is never inferred away."""
    for status, row in TRANSITIONS.items():
        if OrderEvent.NEVER_SENT in row:
            assert status in {OrderStatus.UNKNOWN, OrderStatus.NEVER_SENT}
        if OrderStatus.NEVER_SENT in row.values():
            assert status in IN_FLIGHT | INFERRED_CLOSED


def test_silence_never_settles_a_submit() -> None:
    """A submit without a verdict, and a restart, make UNKNOWN of what is in flight, and nothing else."""
    for status in IN_FLIGHT:
        assert TRANSITIONS[status][OrderEvent.SUBMIT_UNKNOWN] is OrderStatus.UNKNOWN
        assert TRANSITIONS[status][OrderEvent.RESTARTED] is OrderStatus.UNKNOWN


def test_a_word_that_we_do_not_know_proves_that_the_order_exists() -> None:
    """After it, never_sent is out of the question; where that was clear already it changes nothing."""
    for status in IN_FLIGHT | INFERRED_CLOSED:
        assert apply_venue(status, OrderStatus.UNKNOWN) is OrderStatus.ACCEPTED
        assert TRANSITIONS[status][OrderEvent.UNRECOGNISED] is OrderStatus.ACCEPTED
    for status in VENUE_OPEN | VENUE_CLOSED:
        assert apply_venue(status, OrderStatus.UNKNOWN) is status


def test_the_tolerant_rule_agrees_with_the_table_wherever_the_table_speaks() -> None:
    """Tolerance only adds moves: what the table says of a word, the rule says too."""
    for status, row in TRANSITIONS.items():
        for word, event in WORD_EVENT.items():
            if event in row:
                assert apply_venue(status, word) is row[event], (status, word)


def test_statuses_can_be_skipped() -> None:
    """Any later word is accepted from any open state, whether or not the words between were heard."""
    for status, word in itertools.product(OPEN, VENUE_WORDS - ARRIVING):
        assert apply_venue(status, word) is word


def test_old_news_is_ignored_and_a_closing_word_is_never_old_news() -> None:
    """An open word with a lower filled quantity, or an arrival after the arrival, changes nothing; closing words do."""
    for status in VENUE_OPEN:
        for word in VENUE_OPEN:
            assert apply_venue(status, word, lowers_filled=True) is status
        for word in VENUE_CLOSED:
            assert apply_venue(status, word, lowers_filled=True) is word
    for status, word in itertools.product(VENUE_OPEN - ARRIVING, ARRIVING):
        assert apply_venue(status, word) is status


def test_a_partial_fill_does_not_end_a_cancel_in_flight() -> None:
    """Pending cancel stays pending until the venue's word on the cancel, or the last fill."""
    assert next_status(OrderStatus.PENDING_CANCEL, OrderEvent.EXECUTION) is OrderStatus.PENDING_CANCEL
    assert next_status(OrderStatus.PENDING_CANCEL, OrderEvent.LAST_EXECUTION) is OrderStatus.FILLED


def test_every_state_can_be_reached_and_every_open_one_can_close() -> None:
    """No dead rows, no traps."""

    def reach(start: OrderStatus) -> set[OrderStatus]:
        found, frontier = {start}, [start]
        while frontier:
            for target in TRANSITIONS[frontier.pop()].values():
                if target not in found:
                    found.add(target)
                    frontier.append(target)
        return found

    assert reach(OrderStatus.CREATED) == set(OrderStatus)
    for status in OPEN:
        assert {OrderStatus.FILLED, OrderStatus.CANCELED} <= reach(status), status
    assert all(OrderStatus.CREATED not in row.values() for row in TRANSITIONS.values())


def test_the_drawn_table_is_the_table() -> None:
    """Each move appears in the Mermaid diagram and in the Markdown table, and nothing else does."""
    diagram = render_mermaid()
    arrows = {
        (source, target, event)
        for line in diagram.splitlines()
        if ": " in line
        for source, target in [line.split(":", maxsplit=1)[0].strip().split(" --> ")]
        for event in line.split(": ")[1].split(", ")
    }
    assert arrows == {
        (status.value, target.value, event.value)
        for status, row in TRANSITIONS.items()
        for event, target in row.items()
        if target is not status
    }
    rows = [line for line in render_markdown().splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [status.value for status in TRANSITIONS]
    for row, (status, moves) in zip(rows, TRANSITIONS.items(), strict=True):
        stays = row.split(" | ")[3]
        assert all((f"`{event.value}`" in stays) == (target is status) for event, target in moves.items()), status
