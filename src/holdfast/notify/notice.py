"""What is told, where, and the rule by which repeats become one message. No I/O: time is handed in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

SYSTEM: Final = "system"
CHANNELS: Final = ("trading", "protections", "order-drift", "throttle-warnings", SYSTEM)

# Discord takes 2,000 characters in a message, title included; no other service that matters takes fewer.
_TITLE_LENGTH_MAX: Final = 200
_DETAILS_LENGTH_MAX: Final = 1_500
# How many different notices are watched for repeats at once; beyond it they are just not coalesced.
_WINDOWS_MAX: Final = 1_000


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One thing worth telling.

    Attributes:
        ts: When (UTC ns).
        channel: One of ``CHANNELS``.
        title: What happened.
        details: The rest; may be empty.
        repeats: 0 for a first occurrence; N for a summary of N more of the same.
        is_good: Whether it is good news, whatever its channel.
        at: When it was told, in the time of the session that it is about (UTC ns); 0 before.
    """

    ts: int
    channel: str
    title: str
    details: str = ""
    repeats: int = 0
    is_good: bool = False
    at: int = 0


def make_notice(ts: int, channel: str, title: str, details: object = "", *, is_good: bool = False) -> Notice:
    """A notice whose texts fit into every service; ``details`` may be anything that can be shown."""
    return Notice(
        ts=ts,
        channel=channel,
        title=_shorten(title, _TITLE_LENGTH_MAX),
        details=_shorten(_as_text(details), _DETAILS_LENGTH_MAX),
        is_good=is_good,
    )


class Coalescer:
    """Lets the first of equal notices through and counts the rest, window by window.

    The first occurrence passes at once and opens a window. Equal ones (same channel, title and details)
    within the window are only counted. When the window ends, one summary with the count is due and the next
    window opens; a window without a repeat ends the matter. So a fault that repeats every second for an hour
    is told at once, and then once a window.

    Args:
        window_ns: Length of a window; 0 lets everything through.
    """

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        # (channel, title, details) -> [end of the window, repeats]. All windows have one length and open in
        # the order of time, so the order of insertion is the order of ends.
        self._windows: dict[tuple[str, str, str], list[int]] = {}

    def admit(self, notice: Notice) -> bool:
        """Whether this notice is to be told now. The caller has called ``expire(notice.ts)`` before."""
        key = (notice.channel, notice.title, notice.details)
        window = self._windows.get(key)
        if window is not None:
            window[1] += 1
            return False
        if self._window_ns > 0 and len(self._windows) < _WINDOWS_MAX:
            self._windows[key] = [notice.ts + self._window_ns, 0]
        return True

    def next_end(self) -> int | None:
        """When the earliest window ends (UTC ns)."""
        first = next(iter(self._windows.values()), None)
        return None if first is None else first[0]

    def expire(self, now: int) -> Iterator[Notice]:
        """The summaries that are due at ``now``."""
        while (end := self.next_end()) is not None and end <= now:
            yield from self._close(now, now + self._window_ns)

    def flush(self, now: int) -> Iterator[Notice]:
        """Close every window: the summaries of all repeats that were not told yet."""
        while self._windows:
            yield from self._close(now, None)

    def _close(self, now: int, reopen_until: int | None) -> Iterator[Notice]:
        key = next(iter(self._windows))
        _, repeats = self._windows.pop(key)
        if repeats:
            if reopen_until is not None:
                self._windows[key] = [reopen_until, 0]
            channel, title, details = key
            yield Notice(ts=now, channel=channel, title=title, details=details, repeats=repeats)


def _as_text(details: object) -> str:
    if isinstance(details, str):
        return details
    if details is None:
        return ""
    try:
        return msgspec.json.encode(details, enc_hook=_as_json).decode()
    except (TypeError, ValueError, RecursionError):  # keys that JSON does not know, cycles: still worth showing
        return repr(details)


def _as_json(value: Any) -> str:
    return str(value)


def _shorten(text: str, length_max: int) -> str:
    return text if len(text) <= length_max else text[: length_max - 1] + "…"
