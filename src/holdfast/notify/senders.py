"""How a message leaves: one method, so that tests and users can put their own in its place."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from holdfast.model.errors import HoldfastError


class SendError(HoldfastError):
    """A message could not be delivered. The text never holds the URL: a webhook's URL is its password."""


class Sender(Protocol):
    """Delivers one message to one URL."""

    async def check(self, url: str) -> None:
        """Say whether a URL could work at all, without using the network.

        Raises:
            SendError: The URL is not understood.
        """

    async def send(self, url: str, title: str, body: str) -> None:
        """Deliver. May take long, may be cancelled.

        Raises:
            SendError: It was not delivered.
        """


class Sent(NamedTuple):
    """One message as a sender was given it."""

    url: str
    title: str
    body: str


class RecordingSender:
    """Delivers to a list: for tests, and for trying out a configuration.

    Attributes:
        sent: What was delivered, in order.
        failures: Reasons to raise instead of delivering, one a call, first to last.
    """

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.failures: list[str] = []

    async def check(self, url: str) -> None:
        """Every URL will do."""

    async def send(self, url: str, title: str, body: str) -> None:
        """Record, or raise the next of ``failures``."""
        if self.failures:
            raise SendError(self.failures.pop(0))
        self.sent.append(Sent(url, title, body))
