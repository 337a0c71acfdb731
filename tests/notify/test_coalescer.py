"""The coalescing rule, as pure logic over a timeline."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from holdfast.notify.notice import Coalescer, Notice, make_notice

WINDOW = 60

# (ns since the last one, which of three notices)
timelines = st.lists(st.tuples(st.integers(0, 90), st.sampled_from("abc")), max_size=60)


def run(timeline: list[tuple[int, str]], window: int = WINDOW) -> list[Notice]:
    """Everything that is told of a timeline, the last repeats included."""
    coalescer, now = Coalescer(window), 0
    told: list[Notice] = []
    for step, title in timeline:
        now += step
        told += coalescer.expire(now)
        notice = make_notice(now, "trading", title)
        if coalescer.admit(notice):
            told.append(notice)
    return [*told, *coalescer.flush(now)]


@given(timeline=timelines)
def test_nothing_is_lost_and_nothing_invented(timeline: list[tuple[int, str]]) -> None:
    """Each occurrence is told or counted, exactly once."""
    told: Counter[str] = Counter()
    for notice in run(timeline):
        told[notice.title] += notice.repeats or 1

    assert told == Counter(title for _, title in timeline)


@given(timeline=timelines)
def test_the_same_thing_is_told_at_most_once_a_window(timeline: list[tuple[int, str]]) -> None:
    """Two messages of one kind are a window apart; only the flush at the end may come earlier."""
    told = run(timeline)
    for title in "abc":
        times = [notice.ts for notice in told if notice.title == title]
        assert all(later - earlier >= WINDOW for earlier, later in pairwise(times[:-1]))


@given(timeline=timelines)
def test_a_first_occurrence_is_told_at_once(timeline: list[tuple[int, str]]) -> None:
    """Nobody waits for the news, only for the repeats."""
    now = 0
    first: dict[str, int] = {}
    for step, title in timeline:
        now += step
        first.setdefault(title, now)
    told = run(timeline)

    for title, at in first.items():
        assert (at, 0) == next((notice.ts, notice.repeats) for notice in told if notice.title == title)


@given(timeline=timelines)
def test_a_window_of_zero_tells_everything(timeline: list[tuple[int, str]]) -> None:
    """Coalescing can be switched off."""
    assert [notice.title for notice in run(timeline, window=0)] == [title for _, title in timeline]


def test_a_fault_that_goes_on_is_summarised_every_window() -> None:
    """Once a second for 2.5 windows: told at once, then the repeats of each window, then what is left."""
    told = run([(0 if n == 0 else 1, "a") for n in range(150)])

    assert [(notice.ts, notice.repeats) for notice in told] == [(0, 0), (60, 59), (120, 60), (149, 30)]


def test_channel_and_details_tell_notices_apart() -> None:
    """Equal means equal in all three."""
    coalescer = Coalescer(WINDOW)

    assert coalescer.admit(make_notice(0, "trading", "a", "x"))
    assert coalescer.admit(make_notice(0, "trading", "a", "y"))
    assert coalescer.admit(make_notice(0, "system", "a", "x"))
    assert not coalescer.admit(make_notice(0, "trading", "a", "x"))


def test_memory_is_bounded_where_every_notice_differs() -> None:
    """Ten thousand kinds at once: the first thousand are watched for repeats, the rest just pass."""
    coalescer = Coalescer(WINDOW)

    assert all(coalescer.admit(make_notice(0, "trading", str(n))) for n in range(10_000))
    assert not coalescer.admit(make_notice(0, "trading", "0"))
    assert coalescer.admit(make_notice(0, "trading", "9999"))


def test_texts_are_cut_to_what_every_service_takes() -> None:
    """Discord refuses a message of more than 2,000 characters whole."""
    notice = make_notice(0, "trading", "t" * 5_000, "d" * 5_000)

    assert len(notice.title) + len(notice.details) < 1_900
    assert notice.details.endswith("…")


def test_details_may_be_anything() -> None:
    """The guide hands over mappings of orders."""
    cycle: list[object] = []
    cycle.append(cycle)

    assert make_notice(0, "trading", "t", {"id": {"qty": 1}}).details == '{"id":{"qty":1}}'
    assert make_notice(0, "trading", "t", None).details == ""
    assert make_notice(0, "trading", "t", {"a": ValueError("x")}).details == '{"a":"x"}'
    assert "[...]" in make_notice(0, "trading", "t", cycle).details
    assert make_notice(0, "trading", "t", {(1, 2): 3}).details
