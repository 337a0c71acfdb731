"""An order stream that comes, goes and falls mute when a test says so."""

from __future__ import annotations

import asyncio

from holdfast.model.events import StreamConnected, StreamLost
from holdfast.testing.bot import InProcessBot


class FakeOrderStream:
    """The user stream of an ``InProcessBot``: an ``OrderStreamPort`` between its broker and its inbox.

    Args:
        bot: Not started yet, or started; its submits wait for this stream from now on.

    Attributes:
        restarts: Why it was asked to make another connection, each time.
        comes_back: Whether it does so at once when it is asked to.
    """

    def __init__(self, bot: InProcessBot) -> None:
        self._bot = bot
        self._listening = asyncio.Event()
        self.restarts: list[str] = []
        self.comes_back = True
        bot.runner.outbox.gate.stream = self

    def connect(self) -> None:
        """It is listening, and what happens from now on is streamed."""
        self._bot.broker.copies = 1
        self._listening.set()
        self._bot.runner.inbox.post(lambda ts: (StreamConnected(ts=ts, stream="user"),))

    def lose(self, reason: str) -> None:
        """It is gone, and what happens meanwhile is streamed to nobody."""
        self._bot.broker.copies = 0
        self._listening.clear()
        self._bot.runner.inbox.post(lambda ts: (StreamLost(ts=ts, stream="user", reason=reason),))

    def fall_mute(self) -> None:
        """It claims to listen, and delivers nothing."""
        self._bot.broker.copies = 0

    def is_connected(self) -> bool:
        """What it claims."""
        return self._listening.is_set()

    async def wait_connected(self) -> None:
        """Return once it claims to."""
        await self._listening.wait()

    def restart(self, reason: str) -> bool:
        """Give up the connection; the next one works."""
        if not self.is_connected():
            return False
        self.restarts.append(reason)
        self.lose(reason)
        if self.comes_back:
            self.connect()
        return True
