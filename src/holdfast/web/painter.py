"""Shows a running bot in the terminal, without ever holding it up.

Writing to a terminal blocks for as long as a person holds its output: a selection, Ctrl-S, a full
pipe. Nobody's orders may wait for that, so the writing happens in a thread of its own, one frame at a time
and the latest winning. The thread is a daemon: a terminal that never comes back does not keep the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self, TypeAlias

import structlog
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from holdfast.web.app import StatusSource
from holdfast.web.live import alert_line, render, summary

_log = structlog.get_logger(__name__)

_JOIN_SECONDS = 0.5
_PLAIN_SECONDS = 10.0

_Show: TypeAlias = Callable[[Mapping[str, Any]], None]


async def run(
    source: StatusSource,
    refresh_seconds: float = 0.5,
    console: Console | None = None,
    *,
    plain_seconds: float = _PLAIN_SECONDS,
) -> None:
    """Show the source until cancelled; the last frame stays on the screen.

    Args:
        source: What is shown; its ``snapshot`` is called on this loop.
        refresh_seconds: Real seconds between two frames.
        console: Where to; standard output by default.
        plain_seconds: Real seconds between two lines, where the output is no terminal.
    """
    console = console or Console()
    is_live = console.is_terminal and not console.is_dumb_terminal
    interval = refresh_seconds if is_live else max(refresh_seconds, plain_seconds)
    with _Painter(_live_frames(console) if is_live else _plain_frames(console)) as painter:
        try:
            while True:
                painter.paint(source.snapshot())
                await asyncio.sleep(interval)
        finally:
            painter.paint(source.snapshot())


@contextlib.contextmanager
def _live_frames(console: Console) -> Iterator[_Show]:
    live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    def show(snapshot: Mapping[str, Any]) -> None:
        live.update(_Frame(snapshot), refresh=True)

    with live:
        yield show


class _Frame:
    """The view, and below it how to leave.

    The last line is a short one for a reason: a terminal writes ``^C`` where the cursor is. After a border as wide as the
    terminal it would begin another line, and the next frame would be drawn one too low.
    """

    def __init__(self, snapshot: Mapping[str, Any]) -> None:
        self._snapshot = snapshot

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from console.render(render(self._snapshot), options.update(height=console.size.height - 1))
        yield Text(" Ctrl-C stops", style="dim", overflow="ellipsis", no_wrap=True, end="")


@contextlib.contextmanager
def _plain_frames(console: Console) -> Iterator[_Show]:
    last_line = ""
    told: list[Mapping[str, Any]] = []

    def show(snapshot: Mapping[str, Any]) -> None:
        nonlocal last_line, told
        alerts = list(snapshot.get("alerts_recent") or ())
        for alert in alerts:
            if alert not in told:
                console.print(alert_line(alert), markup=False, highlight=False, soft_wrap=True)
        told = alerts
        line = summary(snapshot)
        if line != last_line:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        last_line = line

    yield show


class _Painter:
    """One thread that shows the newest snapshot that it was given; older ones it never saw are skipped.

    Opening and closing the view write to the terminal too, so they are the thread's as well.
    """

    def __init__(self, frames: contextlib.AbstractContextManager[_Show]) -> None:
        self._frames = frames
        self._next: Mapping[str, Any] | None = None
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="holdfast-live-view", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(_JOIN_SECONDS)

    def paint(self, snapshot: Mapping[str, Any]) -> None:
        """Hand over a snapshot; returns at once."""
        with self._changed:
            self._next = snapshot
            self._changed.notify()

    def _work(self) -> None:
        try:
            with self._frames as show:
                while (snapshot := self._take()) is not None:
                    show(snapshot)
        except Exception as error:  # noqa: BLE001 - the thread's boundary: a view that broke is told once, trading goes on
            _log.warning("live view ended with an error", error=repr(error))

    def _take(self) -> Mapping[str, Any] | None:
        """The newest snapshot, once there is one; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._next is not None or self._stopping)
            snapshot, self._next = self._next, None
            return snapshot
