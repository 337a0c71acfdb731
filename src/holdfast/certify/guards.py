"""What must be so before anything is asked. Never a live account: by its address, by its key, and by its own answer."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

from holdfast.brokers.alpaca_endpoints import PAPER_URL, is_loopback
from holdfast.certify.side import Answer, Side
from holdfast.model.errors import BrokerAuthError, ConfigurationError, VenueError

_LIVE_KEY = "AK"
_PAPER_NUMBER = "PA"
_REFUSED = "certify trades on paper accounts alone"


def check_address(url: str, key: str, mode: str) -> None:
    """Before the first request: nothing is sent to where real money could be.

    Raises:
        ConfigurationError: It is, or could be.
    """
    host = urlsplit(url).hostname
    if mode == "live":
        message = f"{_REFUSED}: account.mode is live"
        raise ConfigurationError(message)
    if host != urlsplit(PAPER_URL).hostname and not is_loopback(url):
        message = f"{_REFUSED}: {url} is neither {PAPER_URL} nor a venue on this machine"
        raise ConfigurationError(message)
    if key.startswith(_LIVE_KEY):
        message = f"{_REFUSED}: the key's id begins as those of live accounts do ({_LIVE_KEY})"
        raise ConfigurationError(message)


def check_venue(about: Mapping[str, Any], symbol: str | None) -> None:
    """A built-in venue must run by itself, and go on for a while.

    Raises:
        VenueError: It does not.
    """
    if about.get("speed") == "max":
        message = "the venue stands still until a bot drives it: start it with --speed 60, say"
        raise VenueError(message)
    if about.get("done") is True:
        message = "the venue's recorded market has ended: start it anew"
        raise VenueError(message)
    known = about.get("symbols") or []
    if symbol is not None and symbol not in known:
        message = f"the venue does not trade {symbol}: expected one of {', '.join(map(str, known))}"
        raise VenueError(message)


async def admit(side: Side, symbol: str, *, despite: bool) -> Decimal:
    """Ask the account whether it is the one that may be used, and what is there already.

    Returns:
        The position in the symbol before we begin.

    Raises:
        BrokerAuthError: The keys were refused.
        ConfigurationError: It is no paper account, or something of others is in the way.
        VenueError: It does not answer, or the market is closed.
    """
    account = await side.ask("GET", "/v2/account")
    if account.status in (401, 403):
        message = "the venue refused our API keys: check APCA_API_KEY_ID and APCA_API_SECRET_KEY"
        raise BrokerAuthError(message)
    number = str(_object(side, account, "/v2/account").get("account_number", ""))
    if not number.startswith(_PAPER_NUMBER):
        message = f"{_REFUSED}: the account's number does not begin with {_PAPER_NUMBER}, as those of paper accounts do"
        raise ConfigurationError(message)
    if "/" not in symbol:
        clock = _object(side, await side.ask("GET", "/v2/clock"), "/v2/clock")
        if clock.get("is_open") is not True:
            message = (
                f"the stock market is closed until {clock.get('next_open')}: expected a coin, such as --symbol BTC/USD"
            )
            raise VenueError(message)
    held, resting = await position_of(side, symbol), await orders_of(side, symbol, "open")
    if not despite and (held or resting):
        there = f"a position of {held}" if held else f"{len(resting)} open orders"
        message = f"the account has {there} in {symbol}: expected none, another --symbol, or --despite"
        raise ConfigurationError(message)
    return held


async def position_of(side: Side, symbol: str) -> Decimal:
    """What the account holds of a symbol.

    Raises:
        VenueError: It is not told.
    """
    answer = await side.ask("GET", f"/v2/positions/{symbol.replace('/', '')}")
    if answer.status == 404:
        return Decimal(0)
    try:
        return Decimal(str(_object(side, answer, "the position").get("qty")))
    except InvalidOperation:
        message = "the venue told a position without a quantity"
        raise VenueError(message) from None


async def orders_of(side: Side, symbol: str, status: str) -> list[dict[str, Any]]:
    """The newest orders in a symbol: those that are ``open``, or ``all``; newest first.

    Raises:
        VenueError: It is not told.
    """
    answer = await side.ask("GET", "/v2/orders", params={"status": status, "limit": "500", "direction": "desc"})
    if answer.status != 200 or not isinstance(answer.body, list):
        message = f"the venue did not list the orders (HTTP {answer.status})"
        raise VenueError(message)
    bare = symbol.replace("/", "")
    return [row for row in answer.body if str(row.get("symbol", "")).replace("/", "") == bare]


def _object(side: Side, answer: Answer, what: str) -> dict[str, Any]:
    if answer.status != 200 or not isinstance(answer.body, dict):
        said = f"HTTP {answer.status}" if answer.status else side.failure
        message = f"{side.trading} did not tell {what}: {said}"
        raise VenueError(message)
    return answer.body
