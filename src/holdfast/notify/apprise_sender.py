"""Deliver through Apprise: Discord first, a hundred other services for free.

Three things about Apprise shape this module. It blocks, so every send runs in a thread. A service can hang for
longer than anyone waits, so the thread is a daemon of its own, which is left behind after the time-out and
does not keep the process from ending (an executor's thread would); the number of such threads is bounded. And
its log lines, like those of the HTTP library below it, may show the URL, which for a webhook is the password:
while we send they go to nobody; the warnings become the reason of a ``SendError``, with every part of the URL
taken out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeVar

from holdfast.notify.senders import SendError

if TYPE_CHECKING:
    from apprise import NotifyBase

T = TypeVar("T")

_THREADS_MAX: Final = 16
_LOGGERS_THAT_SHOW_URLS: Final = ("apprise", "urllib3.connectionpool", "urllib3.util.retry")
_SECRET_LENGTH_MIN: Final = 6


class AppriseSender:
    """Delivers to any URL that Apprise understands, the webhook address that Discord shows among them.

    Apprise is imported with the first use, in the thread: it is slow to import and most runs send nothing.
    """

    def __init__(self) -> None:
        self._services: dict[str, NotifyBase] = {}
        self._running = 0

    async def check(self, url: str) -> None:
        """See ``Sender.check``."""
        await self._in_thread(lambda: self._service(url))

    async def send(self, url: str, title: str, body: str) -> None:
        """See ``Sender.send``."""
        await self._in_thread(lambda: self._deliver(url, title, body))

    def _deliver(self, url: str, title: str, body: str) -> None:
        with _captured_logs() as lines:
            # The plugin itself, not Apprise's dispatcher: that may use an executor, whose threads outlive us.
            if self._service(url).notify(body=body, title=title):
                return
        reason = "; ".join(_redact(line, url) for line in lines)
        raise SendError(reason or "the service did not take the message")

    def _service(self, url: str) -> NotifyBase:
        if url not in self._services:
            with _captured_logs():
                from apprise import Apprise  # noqa: PLC0415 - slow to import, and only needed here

                service = Apprise.instantiate(url)
            if service is None:
                message = "Apprise does not understand the URL"
                raise SendError(message)
            self._services[url] = service
        return self._services[url]

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work in a daemon thread of its own; a cancelled wait leaves the thread behind."""
        if self._running >= _THREADS_MAX:
            message = f"{_THREADS_MAX} sends hang already"
            raise SendError(message)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def finish(outcome: T | None, error: BaseException | None) -> None:
            self._running -= 1
            if future.cancelled():
                return
            if error is None:
                future.set_result(outcome)  # type: ignore[arg-type]  # T may itself be None
            else:
                future.set_exception(error)

        def run() -> None:
            outcome: T | None = None
            failure: BaseException | None = None
            try:
                outcome = work()
            except SendError as error:
                failure = error
            except Exception as error:  # noqa: BLE001 - a plugin of Apprise may raise anything; it becomes our error
                failure = SendError(f"Apprise raised {type(error).__name__}")  # its text may hold the URL
            with contextlib.suppress(RuntimeError):  # the loop may be closed by now: nobody waits
                loop.call_soon_threadsafe(finish, outcome, failure)

        self._running += 1
        threading.Thread(target=run, name="holdfast-notify", daemon=True).start()
        return await future


# ---------------------------------------------------------------------------------------------- secrets

_captured = threading.local()


class _CaptureFilter(logging.Filter):
    """Takes the lines that a sending thread logs out of every log, and keeps its warnings for ``SendError``."""

    def filter(self, record: logging.LogRecord) -> bool:
        lines: list[str] | None = getattr(_captured, "lines", None)
        if lines is None:
            return True  # not ours: somebody else in this process uses the library
        if record.levelno >= logging.WARNING:
            lines.append(record.getMessage())
        return False


_FILTER: Final = _CaptureFilter()


@contextlib.contextmanager
def _captured_logs() -> Iterator[list[str]]:
    """Capture what this thread logs through the libraries that show URLs."""
    for name in _LOGGERS_THAT_SHOW_URLS:
        logging.getLogger(name).addFilter(_FILTER)  # adding it again changes nothing
    outer: list[str] | None = getattr(_captured, "lines", None)
    lines: list[str] = [] if outer is None else outer
    _captured.lines = lines
    try:
        yield lines
    finally:
        _captured.lines = outer


def _redact(text: str, url: str) -> str:
    """``text`` without any part of ``url`` that could be a secret, and without any other URL."""
    text = re.sub(r"\S+://\S+", "***", text)
    for part in sorted(re.split(r"[/?&=@:#]+", url), key=len, reverse=True):
        if len(part) >= _SECRET_LENGTH_MIN:
            text = text.replace(part, "***")
    return text
