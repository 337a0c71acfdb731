"""The inbox: what goes first, and what may be forgotten."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.model import Quote
from holdfast.model.events import BarRevised, Event, TimerFired
from holdfast.runner import Inbox
from tests.runner.helpers import bar


def quote(bid: float, symbol: str = "SPY") -> Quote:
    """A quote a cent wide."""
    return Quote(1, symbol, bid, bid + 0.01)


def taken(inbox: Inbox) -> list[object]:
    """What is in the market lane, in the order of taking."""
    found: list[object] = []
    while (event := inbox.take_market()) is not None:
        found.append(event)
    return found


def test_bars_are_never_conflated() -> None:
    """Each one counts, in the order of arrival, and before any quote."""
    inbox = Inbox()
    inbox.post_quote(quote(1.0))
    bars = [bar(minute) for minute in (1, 2, 3)]
    for one in (*bars, bars[0]):
        inbox.post_bar(one)

    late = BarRevised(ts=9, bar=bars[0])
    inbox.post_bar(late)

    assert taken(inbox) == [*bars, bars[0], late, quote(1.0)]


def test_quotes_are_conflated_to_the_last_of_each_symbol() -> None:
    """An old quote that nobody has taken is worth nothing."""
    inbox = Inbox()
    for bid in (1.0, 2.0, 3.0):
        inbox.post_quote(quote(bid))
        inbox.post_quote(quote(bid * 10, "QQQ"))

    assert inbox.depth == 2
    assert taken(inbox) == [quote(3.0), quote(30.0, "QQQ")]
    assert inbox.depth == 0


def test_posts_are_made_at_the_time_of_taking() -> None:
    """So times in the journal never go back, however late something is taken."""
    inbox = Inbox()
    inbox.post(lambda ts: (TimerFired(ts=ts, name="a"), TimerFired(ts=ts, name="b")))
    event = TimerFired(ts=7, name="its own time")
    inbox.post_event(event)

    made: list[Event] = []
    for ts in (100, 200):
        post = inbox.take_posts()
        assert post is not None
        made.extend(post(ts))

    assert made == [TimerFired(ts=100, name="a"), TimerFired(ts=100, name="b"), event]
    assert inbox.take_posts() is None


POSTS: dict[str, Callable[[Inbox], None]] = {
    "post": lambda inbox: inbox.post(lambda _ts: ()),
    "event": lambda inbox: inbox.post_event(TimerFired(ts=1, name="")),
    "bar": lambda inbox: inbox.post_bar(bar(1)),
    "quote": lambda inbox: inbox.post_quote(quote(1.0)),
}


@pytest.mark.parametrize("lane", POSTS)
def test_every_post_wakes_the_runner(lane: str) -> None:
    """Whatever lane it is in."""
    inbox = Inbox()

    POSTS[lane](inbox)

    assert inbox.activity.is_set()
    assert inbox.depth == 1
