"""Is the other side our own venue? It says so at ``/``; Alpaca does not have that page."""

from __future__ import annotations

import httpx
import msgspec

from holdfast.brokers.alpaca_endpoints import is_loopback
from holdfast.model.errors import VenueError
from holdfast.net.tls import trusted_by


class VenueInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What the built-in venue says of itself.

    Attributes:
        admin: Base URL of its admin port.
        speed: ``max`` (lock-step), or how many times faster than real its time runs.
        now_ns: Its time (UTC ns).
        symbols: What it trades.
    """

    name: str
    admin: str
    speed: str | float
    now_ns: int
    symbols: tuple[str, ...] = ()
    done: bool = False

    @property
    def is_lockstep(self) -> bool:
        """Whether it moves only when it is told to."""
        return self.speed == "max"


async def discover_venue(base_url: str | None) -> VenueInfo | None:
    """The built-in venue behind a loopback address; None for anything else.

    Raises:
        VenueError: Nothing answers there.
    """
    if base_url is None or not is_loopback(base_url):
        return None
    try:
        async with httpx.AsyncClient(timeout=5.0, trust_env=False, verify=trusted_by(base_url)) as client:
            response = await client.get(base_url + "/")
    except httpx.HTTPError as error:
        message = f"no venue answers at {base_url}: {str(error) or type(error).__name__}"
        raise VenueError(message) from None
    try:
        info = msgspec.json.decode(response.content, type=VenueInfo, strict=False)
    except msgspec.MsgspecError:
        return None
    return info if info.name == "holdfast-venue" else None
