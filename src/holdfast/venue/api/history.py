"""Alpaca's trading API: the portfolio's history."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import msgspec

from holdfast.model.enums import AssetClass
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_MINUTE, NS_PER_SECOND, to_datetime, to_ns
from holdfast.time import Sessions
from holdfast.venue.api.account import ACTIVITY_TYPES
from holdfast.venue.api.query import day, words
from holdfast.venue.exchange import Exchange
from holdfast.venue.history import Window, cash_flows, portfolio_history
from holdfast.venue.http import Answer, Request, Route
from holdfast.venue.market.calendar import MarketDay, days_between, last_closed, new_york_date, sessions_between
from holdfast.venue.matching.refusals import refuse_invalid
from holdfast.venue.wire.words import NEW_YORK, Json, parse_flag, parse_time

_FRAMES: Final = {"1Min": 1, "5Min": 5, "15Min": 15, "1H": 60}
_DAILY: Final = "1D"
_PERIOD: Final = re.compile(r"([1-9]\d{0,3})([DWMA])\Z")
_REPORTING: Final = ("market_hours", "extended_hours", "continuous")
_RESETS: Final = ("per_day", "no_reset")
_INTRADAY_NS: Final = 31 * NS_PER_DAY  # a month, however long
_MINUTES_NS: Final = 7 * NS_PER_DAY
_QUARTERS_NS: Final = 30 * NS_PER_DAY


class _Question(msgspec.Struct, frozen=True):
    """What is asked for; moments are UTC ns."""

    start: int
    end: int
    timeframe: str
    reporting: str
    per_day: bool
    flows: tuple[str, ...]


class HistoryApi:
    """The handlers, over one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[Route]:
        """The table."""
        return [Route("GET", "/v2/account/portfolio/history", self.history)]

    def history(self, request: Request) -> Answer:
        """GET /v2/account/portfolio/history."""
        account, now = request.owner, self._exchange.now
        question = _question(request.query, now)
        # Nothing is known from before the account was opened: no window before that day is made.
        start = max(question.start, account.created_at - NS_PER_DAY)
        windows = list(self._windows(question, start))
        worth = float(account.engine.account().equity)
        found = portfolio_history(account.history, windows, now, worth, per_day=question.per_day)
        body: Json = {
            "timestamp": [stamp // NS_PER_SECOND for stamp in found.stamps],
            "equity": found.equity,
            "profit_loss": found.profit,
            "profit_loss_pct": found.profit_share,
            "base_value": found.base_value,
            "timeframe": question.timeframe,
        }
        if found.base_close is not None:
            body["base_value_asof"] = new_york_date(found.base_close - 1).isoformat()
        if question.flows:
            rows = [(row.posting.activity_type, row.at, float(row.posting.cash)) for row in account.posted]
            flows = cash_flows(rows, found.windows)
            wanted = sorted(flows) if question.flows == ("ALL",) else question.flows
            body["cashflow"] = {name: flows.get(name, [0.0] * len(found.stamps)) for name in wanted}
        return Answer(body)

    def _windows(self, question: _Question, start: int) -> Iterator[Window]:
        end = min(question.end, self._exchange.now)
        if start > end:
            return iter(())
        if question.timeframe == _DAILY:
            return _daily(self._exchange.account_sessions, start, end)
        frame = _FRAMES[question.timeframe] * NS_PER_MINUTE
        if question.reporting == "continuous":
            return _continuous(self._exchange.account_sessions, start, end, frame)
        extended = question.reporting == "extended_hours"
        return _within_days(self._exchange.sessions(AssetClass.US_EQUITY), start, end, frame, extended=extended)


def _question(query: dict[str, str], now: int) -> _Question:
    """Read the query.

    Raises:
        Refusal: A parameter is none of those that it can be, or they contradict each other.
    """
    start, end = _bounds(query, now)
    span = end - start
    timeframe = query.get("timeframe") or ("1Min" if span < _MINUTES_NS else "15Min" if span < _QUARTERS_NS else _DAILY)
    if timeframe != _DAILY and timeframe not in _FRAMES:
        refuse_invalid(f"invalid timeframe: {timeframe[:40]}")
    if timeframe != _DAILY and span > _INTRADAY_NS:
        refuse_invalid("a timeframe below 1D is served for 30 days or less")
    default = "extended_hours" if parse_flag(query.get("extended_hours", "")) else "market_hours"
    reporting = _word(query, "intraday_reporting", _REPORTING, default)
    flows = tuple(words(query.get("cashflow_types", "")))
    if flows not in (("ALL",), ("NONE",)):
        for name in flows:
            if not ACTIVITY_TYPES.fullmatch(name) or name == "FILL":
                refuse_invalid(f"invalid activity type: {name[:40]}")
    per_day = _word(query, "pnl_reset", _RESETS, "per_day") == "per_day"
    return _Question(start, end, timeframe, reporting, per_day, () if flows == ("NONE",) else flows)


def _bounds(query: dict[str, str], now: int) -> tuple[int, int]:
    start, end, period = query.get("start"), query.get("end"), query.get("period")
    if start and end and period:
        refuse_invalid("only two of start, end and period are accepted")
    span = _PERIOD.match(period or "1M")
    if span is None:
        refuse_invalid(f"invalid period: {str(period)[:40]}")
    last = parse_time(end, "end") if end else now
    if not end and query.get("date_end"):
        last = min(day(query["date_end"], "date_end") + NS_PER_DAY, now)
    count, unit = int(span[1]), span[2]
    if start and period:
        first = parse_time(start, "start")
        last = _moved(first, count, unit)
    else:
        first = parse_time(start, "start") if start else _moved(last, -count, unit)
    if first > last:
        refuse_invalid("start must not be after end")
    return first, last


def _word(query: dict[str, str], name: str, accepted: tuple[str, ...], default: str) -> str:
    word = query.get(name) or default
    if word not in accepted:
        refuse_invalid(f"invalid {name}: {word[:40]}")
    return word


def _moved(moment: int, count: int, unit: str) -> int:
    """A moment so many days, weeks, months or years away, at the same time of day in New York."""
    local = to_datetime(moment).astimezone(NEW_YORK)
    if unit in "DW":
        moved = local + timedelta(days=count * (7 if unit == "W" else 1))
        return to_ns(moved)
    months = local.year * 12 + local.month - 1 + count * (12 if unit == "A" else 1)
    year = min(max(months // 12, 1), 9999 - 1)
    return to_ns(_in_month(local, year, months % 12 + 1))


def _in_month(local: datetime, year: int, month: int) -> datetime:
    """The same day of another month, or its last one."""
    for day_of_month in range(local.day, 27, -1):
        try:
            return local.replace(year=year, month=month, day=day_of_month)
        except ValueError:
            continue
    return local.replace(year=year, month=month)


def _daily(sessions: Sessions, start: int, end: int) -> Iterator[Window]:
    """One window a session that has begun, from the date of ``start`` on."""
    before = _close_before(sessions, start)
    for session in sessions_between(sessions, start // NS_PER_DAY * NS_PER_DAY, end + 1):
        midnight = -(-session.close // NS_PER_DAY) * NS_PER_DAY
        yield Window(midnight, session.open, session.close, before)
        before = session.close


def _continuous(sessions: Sessions, start: int, end: int, frame: int) -> Iterator[Window]:
    """Window after window around the clock; the account's sessions say what was the close before."""
    first = start // frame * frame
    session = sessions.at(first)
    before = _close_before(sessions, first)
    for stamp in range(first, end + 1, frame):
        while session.close <= stamp:
            before, session = session.close, sessions.at(session.close)
        yield Window(stamp, stamp, stamp + frame, before)


def _within_days(sessions: Sessions, start: int, end: int, frame: int, *, extended: bool) -> Iterator[Window]:
    """The windows of whole trading days, their last moments included, up to ``end``."""
    before = _close_before(sessions, start)
    for one in days_between(sessions, start - NS_PER_DAY, end + 1):
        first, last = _hours(one, extended=extended)
        if last > start:
            for stamp in range(first, min(last, end) + 1, frame):
                yield Window(stamp, stamp, min(stamp + frame, last), before)
        before = one.core_end


def _hours(one: MarketDay, *, extended: bool) -> tuple[int, int]:
    return (one.pre_start, one.post_end) if extended else (one.core_start, one.core_end)


def _close_before(sessions: Sessions, moment: int) -> int | None:
    closed = last_closed(sessions, moment)
    return None if closed is None else closed.close
