"""Alpaca's REST API: raw for people, typed for the runner.

The raw methods (``submit_order``, ``get_account`` ...) return the venue's own JSON objects. The typed ones
(``place``, ``fetch_account`` ...) return ``holdfast.model`` values. Both go through one HTTP client, one
throttler, one table of errors.

What is left open on purpose: nothing here remembers an order. A submit ends as a report, as a refusal, as
dropped (it never left) or as unknown, and the kernel decides what to do about each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import quote

import httpx
import structlog

from holdfast.brokers import alpaca_wire as wire
from holdfast.brokers.alpaca_activities import activity
from holdfast.brokers.alpaca_endpoints import (
    CRYPTO_LOCATION,
    DATA_URL,
    LIVE_URL,
    PAPER_URL,
    check_base_url,
    check_key,
    is_loopback,
)
from holdfast.brokers.alpaca_errors import CLOSE, is_missing
from holdfast.brokers.alpaca_http import Admit, AlpacaHttp, RetryPolicy, Timeouts
from holdfast.brokers.alpaca_wire import MalformedMessageError
from holdfast.model.errors import (
    BrokerAuthError,
    BrokerRefusedError,
    ConfigurationError,
    OutcomeUnknownError,
    UnknownSymbolError,
)
from holdfast.model.market import Asset, Bar
from holdfast.model.orders import Account, AccountActivity, BrokerPosition, Execution, OrderIntent, OrderReport
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_MS, NS_PER_SECOND, format_rfc3339
from holdfast.net import Backoff, Throttler, create_combined_throttler
from holdfast.time import Clock, RealTimeClock

Row = dict[str, Any]


class Brake(Protocol):
    """What may stop an order request at the last moment."""

    def __call__(self, *, reduces: bool) -> str | None:
        """Why a request that only reduces (or may open) must not leave; None where it may."""
        ...


_ORDERS, _ACCOUNT, _POSITIONS = "alpaca_orders", "alpaca_account", "alpaca_positions"
_ASSETS, _CLOCK, _ACTIVITIES, _BARS = "alpaca_assets", "alpaca_clock", "alpaca_activities", "alpaca_bars"

# Alpaca's own maxima.
_ORDERS_PAGE = 500
_ACTIVITIES_PAGE = 100
_BARS_PAGE = 10_000
# How late an activity that is no trade may be posted.
_POSTED_LATE = 2 * NS_PER_DAY

_log = structlog.get_logger(__name__)


class AlpacaConnector:
    """A client of one Alpaca account.

    Args:
        config: The guide's configuration: ``{"alpaca": {"api_key", "api_secret", "base_url", "data_url", "feed"},
            "account": {"mode": "paper" | "live"}}``. Keyword arguments win over it.
        throttler: Every request passes it exactly once per attempt. Default: ``create_combined_throttler()``.
        api_key: The key's id.
        api_secret: The key's secret.
        base_url: The trading API; default paper, or live where ``config["account"]["mode"]`` says so.
        data_url: The market-data API.
        feed: Whose stock bars: ``iex`` (free), ``sip`` (paid).
        clock: Default: real time.
        timeouts: Limits on one exchange, in real seconds.
        retries: How often reads are tried.
        backoff: Makes the delays between the tries of one read.
        transport: Replaces the network, in tests.
        sleep: Waits real seconds between tries.
        brake: Asked right before each order request leaves, whoever made it; a reason
            means that it must not leave. Cancels are never asked for.

    Raises:
        ConfigurationError: A key is missing or a URL is none.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        throttler: Throttler | None = None,
        *,
        api_key: str | None = None,
        api_secret: str | None = None,
        base_url: str | None = None,
        data_url: str | None = None,
        feed: str | None = None,
        clock: Clock | None = None,
        timeouts: Timeouts | None = None,
        retries: RetryPolicy | None = None,
        backoff: Callable[[], Backoff] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        brake: Brake | None = None,
    ) -> None:
        self._brake = brake or _no_brake
        alpaca = _section(config, "alpaca")
        default_url = LIVE_URL if _section(config, "account").get("mode") == "live" else PAPER_URL
        self._base = check_base_url(base_url or alpaca.get("base_url") or default_url, "alpaca.base_url")
        self._data = check_base_url(data_url or alpaca.get("data_url") or DATA_URL, "alpaca.data_url")
        self._feed = feed or alpaca.get("feed") or "iex"
        key = check_key(api_key or alpaca.get("api_key"), "alpaca.api_key")
        secret = check_key(api_secret or alpaca.get("api_secret"), "alpaca.api_secret")
        for url in (self._base, self._data):
            if url.startswith("http:") and not is_loopback(url):
                _log.warning("alpaca.keys_in_clear", url=url, advice="use https unless the network is your own")
        self._http = AlpacaHttp(
            headers={"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret},
            base_urls=(self._base, self._data),
            throttler=throttler or create_combined_throttler(clock=clock),
            clock=clock or RealTimeClock(),
            timeouts=timeouts or Timeouts(),
            retries=retries or RetryPolicy(),
            backoff=backoff or (lambda: Backoff(base=0.5, cap=8.0)),
            transport=transport,
            sleep=sleep,
        )

    def __repr__(self) -> str:
        return f"AlpacaConnector({self._base})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. The connector cannot be used afterwards."""
        await self._http.close()

    def get_stats(self) -> dict[str, Any]:
        """Requests, retries, refusals and unknown outcomes since the start."""
        return self._http.get_stats()

    # ------------------------------------------------------------------ raw: orders

    async def submit_order(
        self,
        symbol: str,
        qty: Decimal | float | str,
        side: str,
        order_type: str | None = None,
        *,
        time_in_force: str | None = None,
        limit_price: Decimal | float | str | None = None,
        price: Decimal | float | str | None = None,
        client_order_id: str | None = None,
    ) -> Row:
        """Send one order, once. Give a ``client_order_id``: without one an unknown outcome cannot be looked up.

        Args:
            symbol: "AAPL", "BTC/USD".
            qty: Shares or coins.
            side: ``buy`` or ``sell``, in any case.
            order_type: ``market`` or ``limit``; default limit where a price is given.
            time_in_force: Default ``day``, for coins ``gtc``.
            limit_price: USD.
            price: The same, as the guide calls it.
            client_order_id: At most 128 characters, never used before.

        Returns:
            The order as the venue describes it.

        Raises:
            ConfigurationError: A number is none.
            BrokerRefusedError: The venue refused: there is no such order.
            OutcomeUnknownError: No verdict: look it up by ``client_order_id``.
            OrderDroppedError: It never left this process.
        """
        limit = limit_price if limit_price is not None else price
        try:
            quantity = wire.decimal(qty)
            limit_decimal = None if limit is None else wire.decimal(limit)
        except ValueError as error:
            message = f"order for {symbol}: {error}"
            raise ConfigurationError(message) from None
        body = wire.order_body(
            symbol,
            quantity,
            str(side).lower(),
            (order_type or ("market" if limit is None else "limit")).lower(),
            (time_in_force or ("gtc" if wire.is_crypto_symbol(symbol) else "day")).lower(),
            limit_price=limit_decimal,
            client_order_id=client_order_id,
        )
        url = f"{self._base}/v2/orders"
        # Whether it reduces, nobody has said: it counts as an order that opens.
        row = await self._http.send(_ORDERS, "POST", url, body=body, admit=self._admission(None, reduces=False))
        return _object(row, "an order")

    async def get_orders(
        self,
        *,
        status: str = "open",
        limit: int = _ORDERS_PAGE,
        after: str | None = None,
        until: str | None = None,
        direction: str = "asc",
        symbols: Sequence[str] | None = None,
        side: str | None = None,
        nested: bool = False,
        after_order_id: str | None = None,
        before_order_id: str | None = None,
    ) -> list[Row]:
        """One page of orders (at most 500). ``get_open_orders`` and ``fetch_orders`` walk all pages."""
        params = _params(
            status=status,
            limit=str(limit),
            after=after,
            until=until,
            direction=direction,
            symbols=",".join(symbols) if symbols else None,
            side=side,
            nested="true" if nested else None,
            after_order_id=after_order_id,
            before_order_id=before_order_id,
        )
        return _list(await self._http.read(_ORDERS, f"{self._base}/v2/orders", params), "a list of orders")

    async def get_open_orders(self) -> list[Row]:
        """All open orders, oldest first, however many."""
        return await self._all_orders(status="open")

    async def get_order(self, order_id: str) -> Row:
        """One order by the venue's id.

        Raises:
            BrokerRefusedError: The venue has no such order.
        """
        return _object(await self._http.read(_ORDERS, f"{self._base}/v2/orders/{_escaped(order_id)}"), "an order")

    async def get_order_by_client_id(self, client_order_id: str) -> Row:
        """One order by our id.

        Raises:
            BrokerRefusedError: The venue has no such order.
        """
        url, params = f"{self._base}/v2/orders:by_client_order_id", {"client_order_id": client_order_id}
        return _object(await self._http.read(_ORDERS, url, params, reserved=True), "an order")

    async def cancel_order(self, order_id: str) -> None:
        """Ask the venue to cancel, once. That it accepted the request is not yet the order's end.

        Raises:
            BrokerRefusedError: There is nothing to cancel: unknown, or closed already.
            OutcomeUnknownError: No verdict.
        """
        await self._http.send(_ORDERS, "DELETE", f"{self._base}/v2/orders/{_escaped(order_id)}", reserved=True)

    async def cancel_all_orders(self) -> list[Row]:
        """Ask the venue to cancel every open order of the account, once, whoever made it.

        Returns:
            Per order ``{"id", "status", "body"}``: the status is the one that its own cancel would have had.

        Raises:
            BrokerRefusedError: A definite no.
            OutcomeUnknownError: No verdict.
        """
        rows = await self._http.send(_ORDERS, "DELETE", f"{self._base}/v2/orders", reserved=True)
        return _list(rows or [], "a list of cancels")

    async def close_position(self, symbol: str, *, admit: Admit | None = None) -> Row:
        """Have the venue close all that the account holds of a symbol, with a market order of its own, once.

        For when our own books of it are in doubt: the venue knows how much there is. The order is the venue's; its
        client order id is one that we did not choose.

        Args:
            symbol: "AAPL", "BTC/USD".
            admit: As for ``place``.

        Returns:
            That order.

        Raises:
            BrokerRefusedError: A definite no: there is no position, or open orders hold it.
            OutcomeUnknownError: No verdict: look at the position.
            OrderDroppedError: It never left this process.
        """
        # Alpaca names positions without the slash, and answers 404 to one that has it.
        url = f"{self._base}/v2/positions/{_escaped(symbol.replace('/', ''))}"
        may_leave = self._admission(admit, reduces=True)
        row = await self._http.send(_POSITIONS, "DELETE", url, admit=may_leave, reserved=True, judged_as=CLOSE)
        return _object(row, "an order")

    # ------------------------------------------------------------------ raw: everything else

    async def get_account(self) -> Row:
        """The account."""
        return _object(await self._http.read(_ACCOUNT, f"{self._base}/v2/account"), "an account")

    async def get_positions(self) -> list[Row]:
        """All positions. Coins are named without a slash here: "BTCUSD"."""
        return _list(await self._http.read(_POSITIONS, f"{self._base}/v2/positions"), "a list of positions")

    async def get_asset(self, symbol: str) -> Row:
        """What the venue says of a symbol.

        Raises:
            BrokerRefusedError: It has no such symbol.
        """
        return _object(await self._http.read(_ASSETS, f"{self._base}/v2/assets/{_escaped(symbol)}"), "an asset")

    async def get_clock(self) -> Row:
        """The venue's clock of the stock exchange."""
        return _object(await self._http.read(_CLOCK, f"{self._base}/v2/clock"), "a clock")

    async def get_calendar(self, *, start: str | None = None, end: str | None = None) -> list[Row]:
        """Trading days between two dates (``YYYY-MM-DD``)."""
        params = _params(start=start, end=end)
        return _list(await self._http.read(_CLOCK, f"{self._base}/v2/calendar", params), "a calendar")

    async def get_activities(
        self,
        activity_type: str = "FILL",
        *,
        after: str | None = None,
        until: str | None = None,
        direction: str = "asc",
        page_size: int = _ACTIVITIES_PAGE,
        page_token: str | None = None,
    ) -> list[Row]:
        """One page of account activities of a type (at most 100)."""
        params = _params(after=after, until=until, direction=direction, page_size=str(page_size), page_token=page_token)
        url = f"{self._base}/v2/account/activities/{_escaped(activity_type)}"
        return _list(await self._http.read(_ACTIVITIES, url, params), "a list of activities")

    async def get_bars(
        self, symbol: str, timeframe: str = "1Min", start: str | None = None, end: str | None = None
    ) -> list[Row]:
        """All bars of a symbol that start between two RFC 3339 times (both included), oldest first."""
        is_crypto = wire.is_crypto_symbol(symbol)
        path = f"/v1beta3/crypto/{CRYPTO_LOCATION}/bars" if is_crypto else "/v2/stocks/bars"
        params = _params(
            symbols=symbol,
            timeframe=timeframe,
            start=start,
            end=end,
            limit=str(_BARS_PAGE),
            sort="asc",
            feed=None if is_crypto else self._feed,
            adjustment=None if is_crypto else "raw",
        )
        rows: list[Row] = []
        seen: set[str] = set()
        while True:
            page = _object(await self._http.read(_BARS, self._data + path, params), "a page of bars")
            by_symbol = _object(page.get("bars") or {}, "bars by symbol")
            rows += _list(by_symbol.get(symbol) or [], "a list of bars")
            token = page.get("next_page_token")
            if not token:
                return rows
            if token in seen:
                raise _stuck(page, "bars")
            seen.add(token)
            params = {**params, "page_token": token}

    # ------------------------------------------------------------------ typed: orders

    async def place(self, intent: OrderIntent, *, admit: Admit | None = None) -> OrderReport:
        """Send an intent, once.

        Args:
            intent: Journaled already.
            admit: Asked once, when the throttler has granted the slot and right before the request is made; a
                reason means that it must not leave any more.

        Returns:
            The order as the venue accepted it.

        Raises:
            OrderDroppedError: Nothing left this process.
            BrokerRefusedError: A definite no: there is no such order.
            OutcomeUnknownError: No verdict: look it up.
        """
        body, url, reduces = wire.intent_body(intent), f"{self._base}/v2/orders", intent.reduce_only
        may_leave = self._admission(admit, reduces=reduces)
        row = await self._http.send(_ORDERS, "POST", url, body=body, admit=may_leave, reserved=reduces)
        report = wire.order_report(row)
        if report.client_order_id != intent.client_order_id:
            message = f"the venue answered order {intent.client_order_id} with another one, {report.client_order_id}"
            raise MalformedMessageError(message, row)
        return report

    async def replace(self, intent: OrderIntent, broker_id: str, *, admit: Admit | None = None) -> OrderReport:
        """Ask, once, to put an intent in the place of an open order.

        Args:
            intent: The new order, journaled already. Its quantity is what it may trade itself, whatever the old one has.
            broker_id: The venue's id of the old order.
            admit: As for ``place``.

        Returns:
            The new order. That the venue took the request is not yet the end of the old one, which may fill first.

        Raises:
            OrderDroppedError: Nothing left this process.
            BrokerRefusedError: A definite no: the old order is as it was.
            OutcomeUnknownError: No verdict: look the new order up.
        """
        reduces = intent.reduce_only
        url, may_leave = f"{self._base}/v2/orders/{_escaped(broker_id)}", self._admission(admit, reduces=reduces)
        body = wire.replace_body(intent)
        row = await self._http.send(_ORDERS, "PATCH", url, body=body, admit=may_leave, reserved=reduces)
        report = wire.order_report(row)
        if report.client_order_id != intent.client_order_id:
            message = f"the venue answered replacement {intent.client_order_id} with order {report.client_order_id}"
            raise MalformedMessageError(message, row)
        return report

    async def find_order(self, client_order_id: str) -> OrderReport | None:
        """The order with this id of ours; None where Alpaca itself says that it has none.

        Raises:
            BrokerRefusedError: The look-up was refused.
            OutcomeUnknownError: Nothing was learned.
        """
        try:
            row = await self.get_order_by_client_id(client_order_id)
        except BrokerRefusedError as error:
            if is_missing(error):
                return None
            raise
        report = wire.order_report(row)
        if report.client_order_id != client_order_id:
            message = f"the venue answered a look-up of {client_order_id} with order {report.client_order_id}"
            raise MalformedMessageError(message, row)
        return report

    async def request_cancel(self, broker_id: str) -> None:
        """Ask the venue to cancel, once; its event is the final word. Raises what ``cancel_order`` raises."""
        await self.cancel_order(broker_id)

    async def request_close(self, symbol: str, *, admit: Admit | None = None) -> OrderReport:
        """Have the venue close a whole position, once; its order. Arguments and errors as ``close_position``."""
        return wire.order_report(await self.close_position(symbol, admit=admit))

    async def fetch_open_orders(self) -> tuple[OrderReport, ...]:
        """All open orders, oldest first."""
        return _reports(await self._all_orders(status="open"))

    async def fetch_orders(self, since: int) -> tuple[OrderReport, ...]:
        """Open orders, however old, and all that were submitted at or after a moment (UTC ns); oldest first."""
        # Open ones first: what closes between the two requests is then told by the second, or was told as open.
        resting = await self.fetch_open_orders()
        # The venue's "after" is exclusive and its clocks are in milliseconds: ask a little earlier.
        recent = _reports(await self._all_orders(status="all", after=format_rfc3339(max(since - NS_PER_MS, 0))))
        known = {report.broker_id for report in recent}
        return (*(report for report in resting if report.broker_id not in known), *recent)

    # ------------------------------------------------------------------ typed: everything else

    async def fetch_account(self) -> Account:
        """The account."""
        return wire.account(await self.get_account())

    async def fetch_positions(self) -> tuple[BrokerPosition, ...]:
        """All positions, in the venue's order. One that cannot be read fails the whole: a gap would look like flat."""
        return tuple(wire.position(row) for row in await self.get_positions())

    async def fetch_asset(self, symbol: str) -> Asset:
        """What the venue says of a symbol.

        Raises:
            UnknownSymbolError: It has no such symbol.
        """
        try:
            row = await self.get_asset(symbol)
        except BrokerAuthError:
            raise
        except BrokerRefusedError as error:
            if is_missing(error) or error.status == 422:
                message = f"the venue does not know the symbol {symbol!r}"
                raise UnknownSymbolError(message) from error
            raise
        return wire.asset(row)

    async def fetch_executions(self, since: int) -> tuple[Execution, ...]:
        """All executions since a moment (UTC ns), oldest first, and perhaps some of the second before it: count by id."""
        # Whole seconds, and one earlier: the filter acts on when the venue wrote the row, and knows no fractions.
        after, token = format_rfc3339(max(since // NS_PER_SECOND - 1, 0) * NS_PER_SECOND), None
        rows: dict[str, Row] = {}
        while True:
            page = await self.get_activities("FILL", after=after, page_token=token)
            new = {_id_of(row, "an activity"): row for row in page}
            if new and new.keys() <= rows.keys():
                raise _stuck(page, "activities")
            rows |= new
            if len(page) < _ACTIVITIES_PAGE:
                return wire.in_order_of_trading(wire.execution_from_activity(row) for row in rows.values())
            token = page[-1]["id"]

    async def fetch_adjustments(self, since: int) -> tuple[AccountActivity, ...]:
        """Activities that are no trades, from two days before a moment on (UTC ns), oldest first: count by id.

        Fees, dividends and the like are posted late, and dated by the day.
        """
        after = format_rfc3339(max(since - _POSTED_LATE, 0) // NS_PER_SECOND * NS_PER_SECOND)
        rows: dict[str, Row] = {}
        token: str | None = None
        while True:
            params = _params(
                category="non_trade_activity",
                after=after,
                direction="asc",
                page_size=str(_ACTIVITIES_PAGE),
                page_token=token,
            )
            url = f"{self._base}/v2/account/activities"
            page = _list(await self._http.read(_ACTIVITIES, url, params), "a list of activities")
            new = {f"{_id_of(row, 'an activity')}:{row.get('status')}": row for row in page}
            if new and new.keys() <= rows.keys():
                raise _stuck(page, "activities")
            rows |= new
            if len(page) < _ACTIVITIES_PAGE:
                return tuple(found for row in rows.values() if (found := activity(row)) is not None)
            token = page[-1]["id"]

    async def fetch_bars(self, symbol: str, start: int, end: int, period: int) -> list[Bar]:
        """All bars that lie within ``[start, end]`` (UTC ns), oldest first; ``period`` is their length (ns).

        Raises:
            DataError: Alpaca has no bars of this length.
        """
        frame = wire.timeframe(period)
        if end - start < period:
            return []
        rows = await self.get_bars(symbol, frame, format_rfc3339(start), format_rfc3339(end - period))
        bars = (wire.bar(row, symbol, period) for row in rows)
        return [bar for bar in bars if bar.ts - period >= start and bar.ts <= end]

    async def fetch_clock(self) -> wire.MarketClock:
        """The venue's clock of the stock exchange."""
        return wire.market_clock(await self.get_clock())

    def _admission(self, admit: Admit | None, *, reduces: bool) -> Admit:
        """The brake first, then whoever asks: what it counts must leave."""
        return lambda: self._brake(reduces=reduces) or (None if admit is None else admit())

    # ------------------------------------------------------------------ paging

    async def _all_orders(self, *, status: str, after: str | None = None) -> list[Row]:
        """Walk all pages by order id: times may repeat, and one page never holds more than 500."""
        rows: dict[str, Row] = {}
        last: str | None = None
        while True:
            # The venue does not combine a time with an order id: the id alone goes on from where it is.
            page = await self.get_orders(status=status, after=after if last is None else None, after_order_id=last)
            new = {_id_of(row, "an order"): row for row in page}
            if new and new.keys() <= rows.keys():
                raise _stuck(page, "orders")
            rows |= new
            if len(page) < _ORDERS_PAGE:
                return list(rows.values())
            last = page[-1]["id"]


# ---------------------------------------------------------------------- leaves


def _no_brake(*, reduces: bool) -> str | None:  # noqa: ARG001 - the signature of a brake
    return None


def _section(config: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    section = (config or {}).get(name) or {}
    if not isinstance(section, Mapping):
        message = f"configuration key {name!r} is {type(section).__name__}, expected a table of settings"
        raise ConfigurationError(message)
    return section


def _params(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _escaped(part: str) -> str:
    """A path segment: the slash of "BTC/USD" must not become a path of its own."""
    return quote(part, safe="")


def _object(payload: Any, what: str) -> Row:
    if not isinstance(payload, dict):
        message = f"the venue sent {type(payload).__name__} where {what} was expected"
        raise MalformedMessageError(message, payload)
    return payload


def _list(payload: Any, what: str) -> list[Row]:
    if not isinstance(payload, list):
        message = f"the venue sent {type(payload).__name__} where {what} was expected"
        raise MalformedMessageError(message, payload)
    return payload


def _id_of(row: Any, what: str) -> str:
    identity = row.get("id") if isinstance(row, dict) else None
    if not isinstance(identity, str):
        message = f"the venue sent {what} without an id"
        raise MalformedMessageError(message, row)
    return identity


def _stuck(page: object, what: str) -> OutcomeUnknownError:
    return MalformedMessageError(f"the venue's paging of {what} does not move on: it sent the same page twice", page)


def _reports(rows: list[Row]) -> tuple[OrderReport, ...]:
    """Reports of all orders that this engine could have made; combinations of options are named and left out."""
    reports = []
    for row in rows:
        if wire.is_multi_leg(row):
            _log.warning("alpaca.multi_leg_order_ignored", order=row)
            continue
        reports.append(wire.order_report(row))
    return tuple(reports)
