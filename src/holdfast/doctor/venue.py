"""Checks of what is on the other side of the wire: the APIs, the clock, the account, the symbols, the streams."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from holdfast.brokers.alpaca_endpoints import (
    CRYPTO_LOCATION,
    DATA_STREAM_URL,
    data_stream_url,
    is_loopback,
    trade_stream_url,
)
from holdfast.brokers.alpaca_errors import read_answer
from holdfast.doctor import massive
from holdfast.doctor.findings import Failed, NotChecked, Warned
from holdfast.doctor.situation import Reply, Situation
from holdfast.model.enums import AssetClass
from holdfast.model.errors import BrokerError, HoldfastError
from holdfast.model.timestamps import NS_PER_MINUTE, NS_PER_SECOND, format_rfc3339, parse_rfc3339, to_ns
from holdfast.realtime import MarketDataStream, UserStreamTracker
from holdfast.realtime.stream import Stream, StreamTimeouts

_BUILT_IN = "holdfast-venue"
_SHORT_EQUITY_MIN = Decimal(2_000)
_BLOCKS = ("trading_blocked", "account_blocked", "trade_suspended_by_user")
_PAPER_NUMBER = "PA"
# The free plan has the consolidated feed only when it is a quarter of an hour old.
_RECENT = 5 * NS_PER_MINUTE
_LIMIT = "connection limit"
_CODE = re.compile(r"\((\d{3}|[a-z]+_[a-z]+)\b")  # Alpaca's codes are numbers, Massive's are words

_ONE_CONNECTION = (
    "end the other program that uses these keys; where there is none, wait a minute until the old connection is gone"
)
# What to do about each code of the market-data socket; what the codes mean is in holdfast.realtime.market_data.
DATA_REMEDIES: dict[int, str] = {
    402: "check the key pair; market data take the keys of paper and of live accounts alike",
    404: "look at the network: the greeting took too long",
    405: "follow fewer symbols (strategy.symbols, watch), or upgrade the data plan",
    406: _ONE_CONNECTION,
    407: "look at the machine's load and its network",
    408: "ask Alpaca to enable market data for the account",
    409: 'set alpaca.feed = "iex", or upgrade the data plan',
    410: "check alpaca.feed: this feed has no such channel",
    411: "make a key pair that may read market data",
}


async def trading_api(situation: Situation) -> str:
    """Whether it answers, and takes our keys."""
    if is_loopback(situation.trading):
        about = await situation.ask(situation.trading, "/", keys=False)
        if isinstance(about.body, dict) and about.body.get("name") == _BUILT_IN:
            situation.venue = about.body
    reply = await situation.ask(situation.trading, "/v2/account")
    situation.object_of(reply, "/v2/account")
    took = (reply.answered_at - reply.asked_at) / 1e6
    name = "the built-in venue" if situation.replays else "Alpaca"
    return f"{name} at {situation.trading} takes the keys; an answer took {took:.0f} ms"


async def data_api(situation: Situation) -> str:
    """Whether it answers, and whether the data plan has the feed that is configured."""
    if situation.config.market_data == "massive":
        return await massive.rest_api(situation)
    feed = situation.config.alpaca.feed
    said = []
    for kind in AssetClass:
        symbols = situation.symbols_of(kind)
        if not symbols:
            continue
        reply = await situation.ask(situation.data, *_bars(situation, kind, symbols[0]))
        answer = read_answer(reply.content)
        if reply.status == 403 and answer.is_alpaca and "subscription" in answer.text.lower():
            message = f"the data plan does not include recent data of {feed}: {answer.text}"
            raise Failed(message, DATA_REMEDIES[409])
        situation.object_of(reply, _bars_path(kind))
        said.append(f"stocks by {feed}" if kind is AssetClass.US_EQUITY else "coins")
    return f"{situation.data} gives bars of {' and '.join(said)}"


def _bars_path(kind: AssetClass) -> str:
    return "/v2/stocks/bars" if kind is AssetClass.US_EQUITY else f"/v1beta3/crypto/{CRYPTO_LOCATION}/bars"


def _bars(situation: Situation, kind: AssetClass, symbol: str) -> tuple[str, dict[str, str]]:
    now = int(situation.venue["now_ns"]) if situation.replays else situation.clock.now_ns()
    params = {"symbols": symbol, "timeframe": "1Min", "start": format_rfc3339(max(0, now - _RECENT)), "limit": "10"}
    if kind is AssetClass.US_EQUITY:
        params["feed"] = situation.config.alpaca.feed
    return _bars_path(kind), params


async def clock(situation: Situation) -> str:
    """Our clock against the venue's, by the middle of a request."""
    reply = await situation.ask(situation.trading, "/v2/clock")
    body = situation.object_of(reply, "/v2/clock")
    theirs = _venue_time(reply, body)
    if situation.replays:
        return f"not judged: a replayed venue has a time of its own ({format_rfc3339(theirs)}), which bots follow"
    skew = (reply.middle - theirs) / NS_PER_SECOND
    apart, side = abs(skew), "ahead of" if skew > 0 else "behind"
    said = f"this machine is {apart:.1f} s {side} the venue"
    doubt = (reply.answered_at - reply.asked_at) / 2 / NS_PER_SECOND
    if apart - doubt >= situation.thresholds.skew_failed:
        raise Failed(said)
    if apart - doubt >= situation.thresholds.skew_warning:
        raise Warned(said)
    return f"this machine and the venue agree to {max(apart, doubt):.1f} s"


def _venue_time(reply: Reply, body: dict[str, Any]) -> int:
    """By the clock's own answer; its ``Date`` header knows whole seconds only."""
    try:
        return parse_rfc3339(body["timestamp"])
    except (KeyError, TypeError, HoldfastError, ValueError):
        pass
    try:
        return to_ns(parsedate_to_datetime(reply.headers["Date"])) + NS_PER_SECOND // 2
    except (KeyError, TypeError, ValueError):
        message = "the venue tells no time: neither in /v2/clock nor in a Date header"
        raise Failed(message) from None


async def account(situation: Situation) -> str:
    """Whether it may trade, and is the one that is meant."""
    row = await situation.account()
    status, mode = str(row.get("status")), situation.config.account.mode
    blocks = [name for name in _BLOCKS if row.get(name) is True]
    if status != "ACTIVE" or blocks:
        message = f"the account is {', '.join([status, *blocks])}: no order would be taken"
        raise Failed(message)
    is_paper = str(row.get("account_number", "")).startswith(_PAPER_NUMBER)
    if is_paper is (mode == "live"):
        message = f"the account is {'paper' if is_paper else 'live'} by its number, and account.mode is {mode}"
        raise Failed(message, "set account.mode to what you mean, and use that account's keys")
    return f"{status}, {mode}, equity {row.get('equity')} {row.get('currency', 'USD')}"


async def permissions(situation: Situation) -> str:
    """Shorts, coins, and what the money allows."""
    row = await situation.account()
    coins = situation.symbols_of(AssetClass.CRYPTO)
    if coins and row.get("crypto_status") != "ACTIVE":
        message = f"crypto_status is {row.get('crypto_status')}, and {', '.join(coins)} would be traded"
        raise Failed(message, "enable crypto in Alpaca's dashboard, or leave these symbols out")
    if situation.symbols_of(AssetClass.US_EQUITY):
        reason = _no_shorts(row)
        if reason:
            message = f"stocks cannot be sold short: {reason}; a strategy that goes short would be refused"
            raise Warned(message)
        return f"shorts are allowed{', and coins are' if coins else ''}"
    return "coins are allowed (they are never sold short)"


def _no_shorts(row: dict[str, Any]) -> str:
    if row.get("shorting_enabled") is not True:
        return "shorting_enabled is not set"
    try:
        poor = Decimal(str(row.get("equity"))) < _SHORT_EQUITY_MIN
    except InvalidOperation:
        poor = True
    return f"equity is below {_SHORT_EQUITY_MIN} USD" if poor else ""


async def symbols(situation: Situation) -> str:
    """Whether the venue knows them, and trades them."""
    for symbol in situation.symbols:
        path = f"/v2/assets/{quote(symbol, safe='')}"
        reply = await situation.ask(situation.trading, path)
        if reply.status in (404, 422):
            message = f"the venue does not know {symbol}"
            others = ", ".join(map(str, situation.venue.get("symbols", ())))
            raise Failed(message, f"this venue has {others}: name one with --symbol" if others else None)
        row = situation.object_of(reply, path)
        if row.get("status") != "active" or row.get("tradable") is not True:
            message = f"{symbol} is {row.get('status')}, tradable: {row.get('tradable')}"
            raise Failed(message)
    return f"{', '.join(situation.symbols)} can be traded"


# -- streams ------------------------------------------------------------------------------------


async def trade_stream(situation: Situation) -> str:
    """Whether we are authorised, and listening."""
    await _leave_to_the_bot(situation)
    if situation.replays and situation.venue.get("speed") != "max" and situation.venue.get("running") is False:
        message = "not opened: the built-in venue's time begins to run when somebody listens"
        raise NotChecked(message, "")
    stream = UserStreamTracker(
        *situation.keys, url=trade_stream_url(situation.trading), clock=situation.clock, timeouts=_timeouts(situation)
    )
    await _open_once(stream, {429: _ONE_CONNECTION})
    return "authorised and listening; closed again"


async def data_streams(situation: Situation) -> str:
    """Whether each socket takes our keys and our symbols."""
    await _leave_to_the_bot(situation)
    if situation.config.market_data == "massive":
        await _open_once(massive.make_stream(situation, _timeouts(situation)), massive.STREAM_REMEDIES)
        return "authenticated and subscribed at Massive; closed again"
    alpaca = situation.config.alpaca
    base = alpaca.market_stream_url or DATA_STREAM_URL
    opened = []
    for kind in AssetClass:
        wanted = situation.symbols_of(kind)
        if wanted:
            url = data_stream_url(kind, feed=alpaca.feed, stream_url=base)
            stream = MarketDataStream(
                *situation.keys, url, wanted, _ignore, clock=situation.clock, timeouts=_timeouts(situation)
            )
            await _open_once(stream, DATA_REMEDIES)
            opened.append(url.partition("://")[2])
    return f"authenticated and subscribed at {' and '.join(opened)}; closed again"


async def _leave_to_the_bot(situation: Situation) -> None:
    """A venue allows one connection an account, and the bot has it."""
    owner = await situation.owner()
    if owner is not None:
        message = f"not opened: a bot runs on the journal ({owner}), and the account has one connection"
        raise NotChecked(message, "`holdfast status` tells what the bot's own streams say")


async def _open_once(stream: Stream, remedies: Mapping[Any, str]) -> None:
    """Open, and close at once, whatever came of it.

    Raises:
        Failed: It did not come to listening.
    """
    try:
        await stream.start()
        is_open, said = stream.is_connected(), str(stream.get_stats()["last_error"])
        code: int | None = None
    except BrokerError as error:
        is_open, said, code = False, error.message, error.code or error.status
    finally:
        await stream.stop()
    if not is_open:
        found = _CODE.search(said.replace("HTTP ", ""))
        word = found.group(1) if found else "0"
        # The trade stream has no codes: a second connection is told in words, or by HTTP 429.
        remedy = remedies.get(code or (int(word) if word.isdigit() else word))
        raise Failed(said, _ONE_CONNECTION if _LIMIT in said else remedy)


def _timeouts(situation: Situation) -> StreamTimeouts:
    limits = situation.thresholds
    return StreamTimeouts(connect=limits.connect, open=limits.answer, close=1.0, drain=0.5)


def _ignore(_: object) -> None:
    return None
