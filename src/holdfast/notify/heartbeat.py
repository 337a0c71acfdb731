"""An outbound heartbeat: somebody outside notices when it stops coming.

A bot cannot report its own death, so it reports its life, to a service that raises the alarm when a beat is late
(healthchecks and its like: any URL that takes a GET or a POST). A beat is sent only after the bot has proved that it is
well at this moment: the runner has taken a beat from its inbox, the journal has not failed, the streams are up. A beat
that is not sent is the message; there is no second kind.

    failure                                       what follows
    the bot is not well                           no beat; the reason is logged once
    the runner hangs                              no beat, since it proves nothing
    the process is stopped or gone                no beat
    the URL is slow, dead, or answers an error    counted and logged once; trading never waits for it
    the bot's machine is cut off                  no beat arrives: that is what the service is for

The URL is a password as far as logs are concerned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal
from urllib.parse import urlsplit

import httpx
import structlog

from holdfast.model.errors import ConfigurationError
from holdfast.net.tls import trusted_by

_log = structlog.get_logger(__name__)

_TIMEOUT_SECONDS = 10.0


class Heartbeat:
    """Sends beats while the bot is well.

    Args:
        url: Where to.
        every: Seconds between beats (real time).
        well: Proves that the bot is well; what keeps it from being well, empty where nothing does.
        method: How.
        timeout_seconds: How long one request may take (real seconds).
        transport: Replaces the network, in tests.

    Attributes:
        sent: Beats that the service took.
        withheld: Beats that were not sent, because the bot was not well.
        failed: Beats that did not get through.

    Raises:
        ConfigurationError: The URL is none.
    """

    def __init__(
        self,
        url: str,
        every: float,
        well: Callable[[], Awaitable[Sequence[str]]],
        *,
        method: Literal["GET", "POST"] = "GET",
        timeout_seconds: float = _TIMEOUT_SECONDS,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            message = (
                "heartbeat.url is no URL: expected one like https://example.net/ping/ID (none of it is shown here)"
            )
            raise ConfigurationError(message)
        self._url, self._method, self._every, self._well = url, method, every, well
        self._is_local = parts.hostname == "localhost" or parts.hostname.startswith("127.")
        self._transport = transport
        self._timeout = timeout_seconds
        self._last = ""
        self.sent = self.withheld = self.failed = 0

    async def run(self, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        """Beat until cancelled."""
        # No proxy stands between us and our own machine.
        async with httpx.AsyncClient(
            timeout=self._timeout,
            trust_env=not self._is_local,
            transport=self._transport,
            verify=trusted_by(self._url),
        ) as client:
            while True:
                await self.beat(client)
                await sleep(self._every)

    async def beat(self, client: httpx.AsyncClient) -> None:
        """Prove, and send; never raises."""
        reasons = await self._well()
        if reasons:
            self.withheld += 1
            self._note(f"withheld: {'; '.join(reasons)}")
            return
        try:
            async with asyncio.timeout(self._timeout):  # also for a server that answers one byte at a time
                response = await client.request(self._method, self._url)
        except (httpx.HTTPError, TimeoutError) as error:
            self.failed += 1
            self._note(f"not delivered: {type(error).__name__}")
            return
        if response.status_code >= 300:
            self.failed += 1
            self._note(f"not taken: HTTP {response.status_code}")
            return
        self.sent += 1
        self._note("")

    def _note(self, outcome: str) -> None:
        """Log changes only."""
        if outcome and outcome != self._last:
            _log.warning("heartbeat", outcome=outcome)
        elif self._last and not outcome:
            _log.info("heartbeat", outcome="sent again")
        self._last = outcome
