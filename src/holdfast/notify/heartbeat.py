"""An outbound heartbeat: somebody outside notices when it stops coming.

A bot cannot report its own death, so it reports its life: to a service that raises the alarm when a beat is late
(healthchecks and its like: any URL that takes a GET or a POST), or to people, on a channel of the notifier, who miss the
message. A beat is sent only after the bot has proved that it is
well at this moment: the runner has taken a beat from its inbox, the journal has not failed, the streams are up. A beat
that is not sent is the message; there is no second kind.

    failure                                       what follows
    the bot is not well                           no beat; the reason is logged once
    the runner hangs                              no beat, since it proves nothing
    the process is stopped or gone                no beat
    the URL is slow, dead, or answers an error    counted and logged once; trading never waits for it
    the channel's webhook is slow or dead         as for every other notice: queued, tried again, counted
    the bot's machine is cut off                  no beat arrives: that is what the service is for

The URL is a password as far as logs are concerned.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal
from urllib.parse import urlsplit

import httpx
import structlog

from holdfast.model.errors import ConfigurationError
from holdfast.net.tls import trusted_by

_log = structlog.get_logger(__name__)

_TIMEOUT_SECONDS = 10.0
# After a beat that was not sent, at most: one that is due once an hour is not to be missing for an hour after a start.
_AGAIN_SECONDS = 60.0

Well = Callable[[], Awaitable[Sequence[str]]]
Sleep = Callable[[float], Awaitable[object]]


class Heartbeat(ABC):
    """Sends beats while the bot is well.

    Args:
        every: Seconds between beats (real time); a minute at most after one that was not sent.
        well: Proves that the bot is well; what keeps it from being well, empty where nothing does.

    Attributes:
        sent: Beats that were taken.
        withheld: Beats that were not sent, because the bot was not well.
        failed: Beats that did not get through.
    """

    def __init__(self, every: float, well: Well) -> None:
        self._every, self._well = every, well
        self._last = ""
        self.sent = self.withheld = self.failed = 0

    async def run(self, sleep: Sleep = asyncio.sleep) -> None:
        """Beat until cancelled."""
        while True:
            was_sent = await self.beat()
            await sleep(self._every if was_sent else min(self._every, _AGAIN_SECONDS))

    async def beat(self) -> bool:
        """Prove, and send; whether it got through. Never raises."""
        reasons = await self._well()
        if reasons:
            self.withheld += 1
            self._note(f"withheld: {'; '.join(reasons)}")
            return False
        failure = await self._send()
        if failure:
            self.failed += 1
        else:
            self.sent += 1
        self._note(failure)
        return not failure

    @abstractmethod
    async def _send(self) -> str:
        """Send one beat; why it did not get through, empty where it did."""

    def _note(self, outcome: str) -> None:
        """Log changes only."""
        if outcome and outcome != self._last:
            _log.warning("heartbeat", outcome=outcome)
        elif self._last and not outcome:
            _log.info("heartbeat", outcome="sent again")
        self._last = outcome


class UrlHeartbeat(Heartbeat):
    """Calls a service that raises the alarm when it is not called in time.

    Args:
        url: Where to.
        every: See ``Heartbeat``.
        well: See ``Heartbeat``.
        method: How.
        timeout_seconds: How long one request may take (real seconds).
        transport: Replaces the network, in tests.

    Raises:
        ConfigurationError: The URL is none.
    """

    def __init__(
        self,
        url: str,
        every: float,
        well: Well,
        *,
        method: Literal["GET", "POST"] = "GET",
        timeout_seconds: float = _TIMEOUT_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(every, well)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            message = (
                "heartbeat.url is no URL: expected one like https://example.net/ping/ID (none of it is shown here)"
            )
            raise ConfigurationError(message)
        self._url, self._method = url, method
        self._is_local = parts.hostname == "localhost" or parts.hostname.startswith("127.")
        self._transport = transport
        self._timeout = timeout_seconds
        self._client: httpx.AsyncClient | None = None

    async def run(self, sleep: Sleep = asyncio.sleep) -> None:
        """Beat until cancelled."""
        # No proxy stands between us and our own machine.
        async with httpx.AsyncClient(
            timeout=self._timeout,
            trust_env=not self._is_local,
            transport=self._transport,
            verify=trusted_by(self._url),
        ) as self._client:
            await super().run(sleep)

    async def _send(self) -> str:
        assert self._client is not None  # noqa: S101 - it beats while it runs, for the type checker
        try:
            async with asyncio.timeout(self._timeout):  # also for a server that answers one byte at a time
                response = await self._client.request(self._method, self._url)
        except (httpx.HTTPError, TimeoutError) as error:
            return f"not delivered: {type(error).__name__}"
        return f"not taken: HTTP {response.status_code}" if response.status_code >= 300 else ""


class ChannelHeartbeat(Heartbeat):
    """Tells people that the bot is well.

    Args:
        tell: Puts a notice down, and waits for nothing: channel, title, details.
        channel: One of the notifier's.
        every: See ``Heartbeat``.
        well: See ``Heartbeat``.
        news: What is told beside it.
    """

    def __init__(
        self, tell: Callable[[str, str, str], None], channel: str, every: float, well: Well, news: Callable[[], str]
    ) -> None:
        super().__init__(every, well)
        self._tell, self._channel, self._news = tell, channel, news

    async def _send(self) -> str:
        self._tell(self._channel, "The bot is well", self._news())
        return ""
