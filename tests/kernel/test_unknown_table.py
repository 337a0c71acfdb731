"""The decision table of unknown outcomes: complete, without overlap, and careful."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from holdfast.kernel import KernelSettings
from holdfast.kernel.unknown_page import render_markdown, render_schedules
from holdfast.kernel.unknown_table import (
    CASES,
    SCHEDULES,
    Again,
    Ask,
    Case,
    Facts,
    Request,
    Standing,
    combinations,
    decide,
)
from holdfast.model import Outcome
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.state.order_machine import OrderEvent

Combination = tuple[Request, Outcome, Facts]


def _misfits(cases: tuple[Case, ...]) -> list[Combination]:
    """Combinations that have no row, or more than one."""
    return [
        (request, outcome, facts)
        for request, outcome, facts in combinations()
        if sum(case.fits(request, outcome, facts) for case in cases) != 1
    ]


def test_every_combination_has_exactly_one_row() -> None:
    """No hole, no overlap: the order of the rows decides nothing."""
    assert len(list(combinations())) == len(Request) * len(Outcome) * len(Standing) * 16
    assert _misfits(CASES) == []


def test_the_walk_finds_holes_and_overlaps() -> None:
    """Canary: a table without a row, and one in which a cell no longer asks."""
    without = tuple(case for case in CASES if case.label != "S5")
    assert {outcome for _, outcome, _ in _misfits(without)} == {Outcome.NO_ANSWER}
    wider = tuple(msgspec.structs.replace(c, compared=None) if c.label == "L8" else c for c in CASES)
    assert _misfits(wider)


def test_every_row_is_reached_and_named_once() -> None:
    """A row that nothing reaches would be a promise that nobody keeps."""
    reached = Counter(decide(*combination).label for combination in combinations())
    assert sorted(reached) == sorted(case.label for case in CASES)
    assert len({case.label for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_every_row_says_why_and_what_settles_it(case: Case) -> None:
    """For the page, and for whoever changes it."""
    assert case.known
    assert case.settles
    assert case.why.endswith(".")


def test_never_sent_needs_all_three_proofs() -> None:
    """P2: the row that closes an order by inference asks the stream, the clock and the list of orders."""
    case, other = [case for case in CASES if case.trigger is OrderEvent.NEVER_SENT]
    assert (case.stream_up, case.waited, case.compared) == (True, True, True)
    assert case.outcomes == (Outcome.NOT_FOUND,)
    assert case.standing == other.standing == (Standing.UNHEARD,)
    # The other one needs the venue's closing word on the order whose place was to be taken, and a look-up all the same.
    assert (other.ended, other.outcomes) == (True, (Outcome.NOT_FOUND,))


@pytest.mark.parametrize(
    ("request_", "also"), [(Request.SUBMIT, {}), (Request.REPLACE, {Outcome.NOT_FOUND: OrderEvent.REFUSED})]
)
def test_only_definite_answers_close_what_was_sent(request_: Request, also: dict[Outcome, OrderEvent]) -> None:
    """P2: unknown is never rejected; what closes is our own word, a listed refusal, or a 429."""
    for ended in (False, True):
        facts = Facts(standing=Standing.UNHEARD, stream_up=True, waited=True, compared=True, ended=ended)
        closing = {outcome: decide(request_, outcome, facts).trigger for outcome in Outcome}
        assert {outcome: trigger for outcome, trigger in closing.items() if trigger not in _OPEN_TRIGGERS} == {
            Outcome.NOT_SENT: OrderEvent.SUBMIT_DROPPED,
            Outcome.REFUSED: OrderEvent.REFUSED,
            Outcome.RATE_LIMITED: OrderEvent.REFUSED,
            **also,
        }


_OPEN_TRIGGERS = (OrderEvent.SUBMIT_UNKNOWN, OrderEvent.RESTARTED)


def test_nothing_that_happens_to_a_cancel_closes_the_order() -> None:
    """P2: not found is not cancelled, and neither is silence."""
    for request, outcome, facts in combinations():
        case = decide(request, outcome, facts)
        if request is Request.CANCEL or facts.standing is Standing.AT_VENUE:
            assert case.trigger is None, case.label


def test_whatever_is_open_is_asked_for_again() -> None:
    """P9: every row of an order that is not over asks at once, or sets a schedule, unless it is settled."""
    settled = {"S1", "S2", "S3", "L1", "L8", "L11", "R1", "R3"}
    for request, outcome, facts in combinations():
        case = decide(request, outcome, facts)
        if facts.standing is not Standing.CLOSED and case.label not in settled:
            assert case.asks or case.again is not Again.NO, case.label


def test_no_row_asks_for_an_order_to_be_sent() -> None:
    """P2: there is no such question in the vocabulary."""
    assert {ask for case in CASES for ask in case.asks} == set(Ask)
    assert set(Ask) == {Ask.LOOKUP, Ask.OLD, Ask.COMPARE, Ask.CANCEL, Ask.ACCOUNT}


def test_schedules_grow_and_are_bounded() -> None:
    """P9: twice as long each time, up to the bound, and then for ever."""
    settings = KernelSettings()
    seconds = [SCHEDULES[Again.LOOKUP].delay(settings, asked) // NS_PER_SECOND for asked in (0, 1, 2, 3, 4, 5, 1_000)]
    assert seconds == [2, 4, 8, 16, 30, 30, 30]
    assert SCHEDULES[Again.SLOWLY].delay(settings, 9) == settings.open_order_interval
    short = KernelSettings(lookup_interval=10, lookup_interval_most=5)
    assert SCHEDULES[Again.LOOKUP].delay(short, 3) == 10, "a bound below the first interval is the first interval"


def test_the_page_has_every_row_and_every_schedule() -> None:
    """docs/UNKNOWN.md is made of these."""
    page = render_markdown() + render_schedules()
    for case in CASES:
        assert f"| **{case.label}** |" in page
        assert f"- **{case.label}** {case.why}" in page
    for again in SCHEDULES:
        assert f"| {again} |" in page
