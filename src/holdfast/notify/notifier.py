"""The notifier: a queue beside the trading path.

Whoever has something to tell only puts it down; that never waits, never fails and does no I/O but a log line.
Every notice is logged in full, kept for the status page, and, where its channel has webhooks, queued for each
of them. One task per webhook takes from its own bounded queue, so that a slow or dead webhook delays nobody:
not trading, not the other channels, not the other webhooks of the same channel. What does not fit is dropped,
and every drop is counted, logged, and told with the next message that gets through.

Repeats are coalesced by the injected Clock (a replayed hour floods nobody); time-outs and pauses between
attempts are transport matters and follow real time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog

from holdfast.model.errors import ConfigurationError
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.net import Backoff
from holdfast.notify.apprise_sender import AppriseSender
from holdfast.notify.notice import CHANNELS, SYSTEM, Coalescer, Notice, make_notice
from holdfast.notify.senders import Sender, SendError
from holdfast.time import Clock, RealTimeClock

log = structlog.get_logger(__name__)

_CHECK_TIMEOUT_SECONDS: Final = 15.0


class Notifier:
    """Tells people on five channels: trading, protections, order-drift, throttle-warnings, system.

    Use it from the thread of the event loop. Notices may be given before ``start`` (they wait) and after
    ``stop`` (they are logged only).

    Args:
        channels: Channel -> URL or URLs, such as the webhook address that Discord shows, or anything that
            Apprise understands. A channel without a URL is logged only.
        clock: The time of the coalescing window; default real time.
        session: Whose time notices bear, for a replayed session has its own; default: the clock's.
        sender: Delivers a message; default Apprise.
        window_seconds: Equal notices within it become one message with a count; 0 tells every one.
        queue_size: How many messages may wait for one webhook.
        recent_size: How many notices ``recent`` keeps.
        send_timeout_seconds: How long one attempt may take (real time).
        attempts: How often a message is tried on a webhook at most. One that failed a whole message gets a
            single attempt a message until it works again, so that its queue keeps moving.
        backoff: Makes the pauses between attempts (real time).

    Raises:
        ConfigurationError: A channel is unknown or its URL is none.
    """

    def __init__(
        self,
        channels: Mapping[str, str | Sequence[str]] | None = None,
        clock: Clock | None = None,
        *,
        session: Clock | None = None,
        sender: Sender | None = None,
        window_seconds: float = 60.0,
        queue_size: int = 256,
        recent_size: int = 100,
        send_timeout_seconds: float = 10.0,
        attempts: int = 3,
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        self._clock: Clock = clock if clock is not None else RealTimeClock()
        self._session: Clock = session if session is not None else self._clock
        self._sender: Sender = sender if sender is not None else AppriseSender()
        self._coalescer = Coalescer(round(window_seconds * NS_PER_SECOND))
        self._recent: deque[Notice] = deque(maxlen=recent_size)
        self._send_timeout_seconds = send_timeout_seconds
        self._attempts = max(1, attempts)
        self._backoff = backoff
        self._told = dict.fromkeys(CHANNELS, 0)
        self._coalesced = dict.fromkeys(CHANNELS, 0)
        self._lanes: dict[str, list[_Lane]] = {channel: [] for channel in CHANNELS}
        for channel, urls in _read_channels(channels).items():
            self._lanes[channel] = [_Lane(channel, number, url, queue_size) for number, url in enumerate(urls, start=1)]
        self._lane_tasks: list[asyncio.Task[None]] = []
        self._window_task: asyncio.Task[None] | None = None
        self._window_opened = asyncio.Event()
        self._stopped = False

    def __repr__(self) -> str:
        # Never the URLs: who has a webhook's URL can write to it.
        counts = ", ".join(f"{channel}: {len(lanes)}" for channel, lanes in self._lanes.items())
        return f"<Notifier webhooks {{{counts}}}>"

    # ------------------------------------------------------------------------------------------ telling

    async def send_alert(self, title: str, details: object = "", *, channel: str = SYSTEM) -> None:
        """Tell of something that wants attention. Returns at once.

        Args:
            title: What happened.
            details: Text, or anything that can be shown (a mapping of orders, say).
            channel: One of the five; an unknown one is told on ``system``.
        """
        self.notify_nowait(channel, title, details)

    async def send_message(self, channel: str, message: str) -> None:
        """Tell something on a channel. Returns at once."""
        self.notify_nowait(channel, message)

    def notify_nowait(self, channel: str, title: str, details: object = "", *, is_good: bool = False) -> None:
        """Put a notice down. Never waits and never raises for what a webhook or a channel's name is like."""
        if channel not in self._lanes:
            log.warning("notify_unknown_channel", channel=channel, expected=CHANNELS, used=SYSTEM)
            channel = SYSTEM
        now = self._clock.now_ns()
        self._tell_due(now)
        notice = make_notice(now, channel, title, details, is_good=is_good)
        if self._coalescer.admit(notice):
            self._tell(notice)
            self._window_opened.set()
        else:
            self._coalesced[channel] += 1

    def recent(self) -> list[Notice]:
        """The last notices, oldest first, repeats coalesced."""
        return list(self._recent)

    def get_stats(self) -> dict[str, Any]:
        """Counts since the start, by channel; messages are counted once for each webhook."""
        return {
            "running": bool(self._window_task),
            "channels": {
                channel: {
                    "webhooks": len(lanes),
                    "notices": self._told[channel],
                    "coalesced": self._coalesced[channel],
                    "queued": sum(len(lane.queue) for lane in lanes),
                    "sent": sum(lane.sent for lane in lanes),
                    "failed": sum(lane.failed for lane in lanes),
                    "dropped": sum(lane.dropped for lane in lanes),
                }
                for channel, lanes in self._lanes.items()
            },
        }

    def _tell_due(self, now: int) -> None:
        for summary in self._coalescer.expire(now):
            self._tell(summary)

    def _tell(self, notice: Notice) -> None:
        log.info(
            "notice",
            channel=notice.channel,
            title=notice.title,
            details=notice.details,
            **({"repeats": notice.repeats} if notice.repeats else {}),
        )
        self._recent.append(msgspec.structs.replace(notice, at=self._session.now_ns()))
        self._told[notice.channel] += 1
        for lane in self._lanes[notice.channel]:
            if self._stopped:
                lane.drop("the notifier is stopped", notice)
            elif len(lane.queue) >= lane.queue_size:
                lane.drop("the queue of the webhook is full", notice)
            else:
                lane.queue.append(notice)
                lane.filled.set()

    # ----------------------------------------------------------------------------------------- delivery

    async def start(self) -> None:
        """Check the URLs and begin to deliver. A second call does nothing.

        Raises:
            ConfigurationError: A URL is not understood.
        """
        if self._window_task is not None:
            return
        lanes = [lane for lanes in self._lanes.values() for lane in lanes]
        for lane in lanes:
            await self._check(lane)
        self._stopped = False
        self._window_opened = asyncio.Event()  # of this loop: a notifier may be started again in another one
        for lane in lanes:
            lane.filled = asyncio.Event()
            lane.closing = False
        self._window_task = asyncio.create_task(self._watch_windows(), name="notify-windows")
        self._lane_tasks = [asyncio.create_task(self._deliver(lane), name=f"notify-{lane.name}") for lane in lanes]

    async def stop(self, flush_seconds: float = 2.0) -> None:
        """Deliver what waits, for at most ``flush_seconds`` (real time); what is left is counted as dropped."""
        if self._window_task is None:
            return
        for summary in self._coalescer.flush(self._clock.now_ns()):
            self._tell(summary)
        self._stopped = True
        lanes = [lane for lanes in self._lanes.values() for lane in lanes]
        for lane in lanes:
            lane.closing = True
            lane.filled.set()
        if self._lane_tasks:
            await asyncio.wait(self._lane_tasks, timeout=flush_seconds)
        tasks, self._lane_tasks = [*self._lane_tasks, self._window_task], []
        self._window_task = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for lane in lanes:
            while lane.queue:
                lane.drop("the notifier stopped before it could be sent", lane.queue.popleft())

    async def _check(self, lane: _Lane) -> None:
        try:
            await asyncio.wait_for(self._sender.check(lane.url), _CHECK_TIMEOUT_SECONDS)
        except TimeoutError:
            reason = f"checking it took more than {_CHECK_TIMEOUT_SECONDS:g} s"
        except SendError as error:
            reason = str(error)
        else:
            return
        message = f"notifications: URL {lane.number} of channel {lane.channel!r} cannot be used: {reason}"
        raise ConfigurationError(message)

    async def _watch_windows(self) -> None:
        """Tell the summaries when their windows end."""
        while True:
            end = self._coalescer.next_end()
            if end is None:
                self._window_opened.clear()
                await self._window_opened.wait()
            else:
                await self._clock.wait_until(end)
                self._tell_due(self._clock.now_ns())

    async def _deliver(self, lane: _Lane) -> None:
        """Send what one webhook's queue holds, in order, until told to close."""
        while True:
            while lane.queue:
                # It stays in the queue while it is under way, so that a stop in the middle counts it.
                await self._send(lane, lane.queue[0])
                lane.queue.popleft()
            if lane.closing:
                return
            lane.filled.clear()
            await lane.filled.wait()

    async def _send(self, lane: _Lane, notice: Notice) -> None:
        lost = lane.lost_untold
        title, body = _render(notice, lost)
        delays = self._backoff()
        reason = ""
        for attempt in range(1 if lane.is_failing else self._attempts):
            if attempt:
                await asyncio.sleep(delays.next())
            try:
                await asyncio.wait_for(self._sender.send(lane.url, title, body), self._send_timeout_seconds)
            except TimeoutError:
                reason = f"no answer within {self._send_timeout_seconds:g} s"
            except SendError as error:
                reason = str(error)
            except Exception as error:  # noqa: BLE001 - the boundary to a user's own sender: counted, logged, never fatal
                reason = f"the sender raised {type(error).__name__}"  # its text may hold the URL
            else:
                lane.sent += 1
                lane.lost_untold -= lost
                lane.is_failing = False
                return
        lane.failed += 1
        lane.lost_untold += 1
        lane.is_failing = True
        log.warning("notify_failed", webhook=lane.name, title=notice.title, reason=reason, failed=lane.failed)


class _Lane:
    """One webhook and what waits for it."""

    def __init__(self, channel: str, number: int, url: str, queue_size: int) -> None:
        self.channel = channel
        self.number = number
        self.name = f"{channel}/{number}"
        self.url = url
        self.queue: deque[Notice] = deque()
        self.queue_size = queue_size
        self.filled = asyncio.Event()
        self.closing = False
        self.is_failing = False
        self.sent = 0
        self.failed = 0
        self.dropped = 0
        self.lost_untold = 0

    def drop(self, reason: str, notice: Notice) -> None:
        self.dropped += 1
        self.lost_untold += 1
        log.warning("notify_dropped", webhook=self.name, title=notice.title, reason=reason, dropped=self.dropped)


def _read_channels(channels: Mapping[str, Any] | None) -> dict[str, list[str]]:
    """The configuration, checked as far as that needs no Apprise. Messages never show a URL."""
    result: dict[str, list[str]] = {}
    for channel, value in (channels or {}).items():
        if channel not in CHANNELS:
            message = f"notifications: unknown channel {channel!r}; expected one of {', '.join(CHANNELS)}"
            raise ConfigurationError(message)
        if not isinstance(value, (str, list, tuple)):
            message = (
                f"notifications: channel {channel!r} must have a URL or a list of URLs, not {type(value).__name__}"
            )
            raise ConfigurationError(message)
        urls = [value] if isinstance(value, str) else list(value)
        for number, url in enumerate(urls, start=1):
            if not isinstance(url, str) or "://" not in url.strip():
                message = (
                    f"notifications: URL {number} of channel {channel!r} is none; "
                    "expected for example https://discord.com/api/webhooks/ID/TOKEN"
                )
                raise ConfigurationError(message)
        result[channel] = [url.strip() for url in urls]
    return result


def _render(notice: Notice, lost: int) -> tuple[str, str]:
    """The title and body of a message; a notice without details is all body."""
    lines = [notice.details] if notice.details else []
    if notice.repeats:
        lines.append(f"(repeated {notice.repeats} more time{'s' if notice.repeats > 1 else ''})")
    if lost:
        lines.append(f"({lost} earlier message{'s' if lost > 1 else ''} could not be sent; see the log)")
    return (notice.title, "\n".join(lines)) if lines else ("", notice.title)
