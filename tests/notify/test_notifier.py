"""The notifier: never in the way, never silent about what it lost."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from holdfast.model.errors import ConfigurationError
from holdfast.model.timestamps import NS_PER_HOUR, to_ns
from holdfast.net import Backoff
from holdfast.notify import CHANNELS, Notifier, RecordingSender, SendError
from holdfast.time import BacktestClock

T0 = datetime(2024, 1, 2, 15, 0, tzinfo=UTC)
URL = "https://discord.com/api/webhooks/1234567890/s3cr3t-t0ken"


class HangingSender(RecordingSender):
    """A dead webhook: chosen URLs never answer."""

    def __init__(self, *dead: str) -> None:
        super().__init__()
        self.dead = set(dead)
        self.begun = asyncio.Event()

    async def send(self, url: str, title: str, body: str) -> None:
        """Hang where the URL is dead."""
        if url in self.dead:
            self.begun.set()
            await asyncio.Event().wait()
        await super().send(url, title, body)


def make(channels: dict[str, Any] | None = None, sender: RecordingSender | None = None, **kw: Any) -> Notifier:
    """A notifier that never really waits."""
    kw.setdefault("clock", BacktestClock(T0))
    kw.setdefault("backoff", lambda: Backoff(base=1e-6, cap=1e-6))
    return Notifier(channels, sender=sender or RecordingSender(), **kw)


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until something holds (the test's own time-out bounds it)."""
    while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(0)


def channel_stats(notifier: Notifier, channel: str) -> dict[str, int]:
    """The counts of one channel."""
    stats: dict[str, int] = notifier.get_stats()["channels"][channel]
    return stats


class TestTelling:
    """Putting a notice down."""

    async def test_messages_arrive_on_their_channel_in_order(self) -> None:
        """Alerts with a title and details, messages as one text."""
        sender = RecordingSender()
        notifier = make({"trading": "x://trading", "system": ["x://system"]}, sender)
        await notifier.start()
        await notifier.send_message(channel="trading", message="Protection active: cool-down")
        await notifier.send_alert("Orphan orders found!", {"broker-1": {"qty": "2"}})
        notifier.notify_nowait("trading", "Filled", "SPY 10 @ 450.12")
        await notifier.stop()

        assert sorted(sender.sent) == [
            ("x://system", "Orphan orders found!", '{"broker-1":{"qty":"2"}}'),
            ("x://trading", "", "Protection active: cool-down"),
            ("x://trading", "Filled", "SPY 10 @ 450.12"),
        ]
        assert next(sent.body for sent in sender.sent if sent.url == "x://trading").startswith("Protection")

    async def test_every_webhook_of_a_channel_gets_every_message(self) -> None:
        """A channel may have several."""
        sender = RecordingSender()
        notifier = make({"order-drift": ["x://one", "x://two"]}, sender)
        await notifier.start()
        await notifier.send_alert("Drift", channel="order-drift")
        await notifier.stop()

        assert sorted(sent.url for sent in sender.sent) == ["x://one", "x://two"]
        assert channel_stats(notifier, "order-drift")["sent"] == 2

    async def test_without_any_webhook_everything_is_logged_and_kept(self) -> None:
        """The live view and the status page have it all the same."""
        notifier = make(recent_size=3)
        await notifier.start()
        with capture_logs() as logs:
            for n in range(5):
                await notifier.send_message("trading", f"message {n}")
        await notifier.stop()

        assert [notice.title for notice in notifier.recent()] == ["message 2", "message 3", "message 4"]
        assert [line["title"] for line in logs if line["event"] == "notice"] == [f"message {n}" for n in range(5)]
        assert channel_stats(notifier, "trading") == {
            "webhooks": 0,
            "notices": 5,
            "coalesced": 0,
            "queued": 0,
            "sent": 0,
            "failed": 0,
            "dropped": 0,
        }

    async def test_what_is_kept_bears_the_time_of_the_session(self) -> None:
        """A replayed one has its own; repeats are counted by the reader's."""
        begin, clock = datetime(2022, 1, 24, tzinfo=UTC), BacktestClock(T0)
        session = BacktestClock(begin)
        notifier = make(clock=clock, session=session)
        await notifier.send_message("trading", "a")
        session.advance(timedelta(hours=9))
        for _ in range(2):
            await notifier.send_message("trading", "a")
        await notifier.send_message("trading", "b")
        clock.advance(timedelta(minutes=2))
        await notifier.send_message("trading", "c")

        early, late = to_ns(begin), to_ns(begin) + 9 * NS_PER_HOUR
        kept = [(notice.title, notice.repeats, notice.at) for notice in notifier.recent()]
        assert kept == [("a", 0, early), ("b", 0, late), ("a", 2, late), ("c", 0, late)]

    async def test_an_unknown_channel_falls_back_to_system(self) -> None:
        """A slip in a strategy must not stop trading; it is told, and logged."""
        notifier = make()
        with capture_logs() as logs:
            await notifier.send_message("tradnig", "hello")

        assert [(notice.channel, notice.title) for notice in notifier.recent()] == [("system", "hello")]
        assert logs[0]["event"] == "notify_unknown_channel"
        assert (logs[0]["channel"], logs[0]["log_level"]) == ("tradnig", "warning")

    async def test_telling_returns_at_once(self) -> None:
        """The coroutines never suspend: not even a dead webhook can delay the caller."""
        notifier = make({"trading": URL}, HangingSender(URL))
        await notifier.start()
        for awaitable in (notifier.send_alert("a"), notifier.send_message("trading", "b")):
            with pytest.raises(StopIteration):
                awaitable.send(None)
        await notifier.stop(flush_seconds=0.0)

    async def test_notices_before_the_start_are_sent_after_it(self) -> None:
        """Wiring may have something to tell."""
        sender = RecordingSender()
        notifier = make({"system": "x://system"}, sender)
        notifier.notify_nowait("system", "early")
        await notifier.start()
        await notifier.start()  # a second start does nothing
        await notifier.stop()
        await notifier.stop()

        assert [sent.body for sent in sender.sent] == ["early"]

    def test_the_public_signatures(self) -> None:
        """The names that users write."""
        assert list(inspect.signature(Notifier.send_alert).parameters) == ["self", "title", "details", "channel"]
        assert list(inspect.signature(Notifier.send_message).parameters) == ["self", "channel", "message"]
        assert CHANNELS == ("trading", "protections", "order-drift", "throttle-warnings", "system")


class TestCoalescing:
    """Repeats become one message with a count, by the injected clock."""

    async def test_repeats_are_told_once_when_the_window_ends(self) -> None:
        """The first at once, the rest as one summary."""
        clock, sender = BacktestClock(T0), RecordingSender()
        notifier = make({"system": "x://system"}, sender, clock=clock, window_seconds=60)
        await notifier.start()
        for _ in range(5):
            await notifier.send_alert("Stream lost", "no message for 30 s")
        await until(lambda: len(sender.sent) == 1 and clock.waiting == 1)
        clock.advance(timedelta(seconds=59))
        await asyncio.sleep(0)

        assert len(sender.sent) == 1
        clock.advance(timedelta(seconds=1))
        await until(lambda: len(sender.sent) == 2)
        assert sender.sent[1] == ("x://system", "Stream lost", "no message for 30 s\n(repeated 4 more times)")
        assert channel_stats(notifier, "system")["coalesced"] == 4
        assert [notice.repeats for notice in notifier.recent()] == [0, 4]
        await notifier.stop()

    async def test_repeats_that_wait_are_told_at_the_stop(self) -> None:
        """What was counted is told before the process ends."""
        sender = RecordingSender()
        notifier = make({"system": "x://system"}, sender)
        await notifier.start()
        for _ in range(2):
            await notifier.send_alert("again")
        await notifier.stop()

        assert [sent.body for sent in sender.sent] == ["again", "(repeated 1 more time)"]

    async def test_a_clock_that_jumps_closes_windows_without_a_timer(self) -> None:
        """Before the start nobody watches; the next notice settles what is due."""
        clock = BacktestClock(T0)
        notifier = make(clock=clock)
        notifier.notify_nowait("system", "a")
        notifier.notify_nowait("system", "a")
        clock.advance(timedelta(minutes=2))
        notifier.notify_nowait("system", "b")

        assert [(notice.title, notice.repeats) for notice in notifier.recent()] == [("a", 0), ("a", 1), ("b", 0)]


class TestBadWebhooks:
    """Slow, dead, refusing, raising."""

    async def test_a_dead_webhook_delays_no_other(self) -> None:
        """Neither another channel nor another webhook of its own."""
        sender = HangingSender("x://dead")
        notifier = make({"trading": ["x://dead", "x://alive"], "system": "x://system"}, sender)
        await notifier.start()
        await notifier.send_message("trading", "one")
        await sender.begun.wait()
        await notifier.send_message("trading", "two")
        await notifier.send_message("system", "three")
        await until(lambda: len(sender.sent) == 3)
        with capture_logs() as logs:
            await notifier.stop(flush_seconds=0.01)

        assert sorted((sent.url, sent.body) for sent in sender.sent) == [
            ("x://alive", "one"),
            ("x://alive", "two"),
            ("x://system", "three"),
        ]
        assert channel_stats(notifier, "trading")["dropped"] == 2
        assert [line["event"] for line in logs] == ["notify_dropped"] * 2

    async def test_a_full_queue_drops_counts_and_tells(self) -> None:
        """Two wait, the rest is dropped, logged, and mentioned in the next message that gets through."""
        sender = HangingSender("x://slow")
        notifier = make({"trading": "x://slow"}, sender, queue_size=2, window_seconds=0, send_timeout_seconds=0.01)
        await notifier.start()
        with capture_logs() as logs:
            for n in range(5):
                await notifier.send_message("trading", f"message {n}")

            assert channel_stats(notifier, "trading")["dropped"] == 3
            assert [line["title"] for line in logs if line["event"] == "notify_dropped"] == [
                "message 2",
                "message 3",
                "message 4",
            ]
            await sender.begun.wait()
            await until(lambda: channel_stats(notifier, "trading")["failed"] == 2)
            sender.dead.clear()
            await notifier.send_message("trading", "at last")
            await notifier.stop()

        assert sender.sent == [("x://slow", "at last", "(5 earlier messages could not be sent; see the log)")]
        assert channel_stats(notifier, "trading") == {
            "webhooks": 1,
            "notices": 6,
            "coalesced": 0,
            "queued": 0,
            "sent": 1,
            "failed": 2,
            "dropped": 3,
        }

    async def test_a_failure_is_tried_again_a_bounded_number_of_times(self) -> None:
        """The third attempt works: one message, no failure."""
        sender = RecordingSender()
        sender.failures = ["HTTP 502", "HTTP 502"]
        notifier = make({"trading": "x://t"}, sender, attempts=3)
        await notifier.start()
        await notifier.send_message("trading", "hello")
        await notifier.stop()

        assert [sent.body for sent in sender.sent] == ["hello"]
        assert channel_stats(notifier, "trading")["failed"] == 0

    async def test_a_webhook_that_keeps_failing_gets_one_attempt_a_message(self) -> None:
        """So that its queue keeps moving; once it works again it is trusted again."""
        sender = RecordingSender()
        sender.failures = ["HTTP 404"] * 4  # three for the first message, one for the second
        notifier = make({"trading": "x://t"}, sender, attempts=3)
        await notifier.start()
        with capture_logs() as logs:
            for n in range(3):
                await notifier.send_message("trading", f"message {n}")
            await notifier.stop()

        assert channel_stats(notifier, "trading")["failed"] == 2
        assert [(line["reason"], line["title"]) for line in logs if line["event"] == "notify_failed"] == [
            ("HTTP 404", "message 0"),
            ("HTTP 404", "message 1"),
        ]
        assert sender.sent == [("x://t", "message 2", "(2 earlier messages could not be sent; see the log)")]

    async def test_a_sender_that_raises_anything_is_survived(self) -> None:
        """A user's own sender is counted and logged; its words are not shown, they may hold the URL."""

        class Broken(RecordingSender):
            async def send(self, url: str, title: str, body: str) -> None:
                raise RuntimeError(url)

        notifier = make({"trading": URL}, Broken(), attempts=1)
        await notifier.start()
        with capture_logs() as logs:
            await notifier.send_message("trading", "hello")
            await notifier.stop()

        assert channel_stats(notifier, "trading")["failed"] == 1
        assert "the sender raised RuntimeError" in str(logs)
        assert "s3cr3t" not in str(logs)

    async def test_after_the_stop_notices_are_logged_and_counted_as_dropped(self) -> None:
        """Late words are not silently lost."""
        notifier = make({"trading": "x://t"})
        await notifier.start()
        await notifier.stop()
        with capture_logs() as logs:
            await notifier.send_message("trading", "too late")

        assert [line["event"] for line in logs] == ["notice", "notify_dropped"]
        assert channel_stats(notifier, "trading")["dropped"] == 1

    async def test_it_can_be_started_again(self) -> None:
        """A restart of the runner restarts the deliveries."""
        sender = RecordingSender()
        notifier = make({"trading": "x://t"}, sender)
        for n in range(2):
            await notifier.start()
            await notifier.send_message("trading", str(n))
            await notifier.stop()

        assert [sent.body for sent in sender.sent] == ["0", "1"]


class TestConfiguration:
    """Errors name the channel and what was expected, never a URL."""

    @pytest.mark.parametrize(
        ("channels", "words"),
        [
            ({"tradnig": URL}, "unknown channel 'tradnig'; expected one of trading, protections, order-drift"),
            ({"trading": "s3cr3t-t0ken"}, "URL 1 of channel 'trading' is none; expected for example https://discord"),
            ({"trading": [URL, ""]}, "URL 2 of channel 'trading' is none"),
            ({"trading": [URL, 5]}, "URL 2 of channel 'trading' is none"),
            ({"trading": 5}, "channel 'trading' must have a URL or a list of URLs, not int"),
        ],
    )
    def test_what_makes_no_sense_is_told_at_once(self, channels: dict[str, Any], words: str) -> None:
        """At construction, before anything runs."""
        with pytest.raises(ConfigurationError, match=words) as raised:
            make(channels)
        assert "s3cr3t" not in str(raised.value)

    async def test_a_url_that_is_not_understood_is_told_at_the_start(self) -> None:
        """By number, not by its text."""

        class Picky(RecordingSender):
            async def check(self, url: str) -> None:
                message = "Apprise does not understand the URL"
                raise SendError(message)

        with pytest.raises(ConfigurationError, match="URL 1 of channel 'trading' cannot be used: Apprise does not"):
            await make({"trading": URL}, Picky()).start()

    def test_the_url_is_in_no_repr(self) -> None:
        """Who has a webhook's URL can write to it."""
        notifier = make({"trading": URL})

        assert "s3cr3t" not in repr(notifier)
        assert "trading: 1" in repr(notifier)
        assert "s3cr3t" not in repr(vars(notifier))
        assert "s3cr3t" not in str(notifier.get_stats())
