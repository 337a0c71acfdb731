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

import httpx
import structlog

from holdfast.brokers import alpaca_wire as wire
from holdfast.brokers.alpaca_endpoints import (
    DATA_URL,
    LIVE_URL,
    PAPER_URL,
    check_base_url,
    check_key,
    is_loopback,
)
from holdfast.brokers.alpaca_errors import CLOSE, is_missing
from holdfast.brokers.alpaca_http import Admit, AlpacaHttp, RetryPolicy, Timeouts
from holdfast.brokers.alpaca_pages import Row, as_list, as_object, escaped, params
from holdfast.brokers.alpaca_reads import AlpacaReads
from holdfast.brokers.alpaca_wire import MalformedMessageError
from holdfast.model.errors import BrokerRefusedError, ConfigurationError
from holdfast.model.orders import OrderIntent, OrderReport
from holdfast.model.terms import OrderTerms, order_type_of
from holdfast.model.timestamps import NS_PER_MS, format_rfc3339
from holdfast.net import Backoff, Throttler, create_combined_throttler
from holdfast.time import Clock, RealTimeClock


class Brake(Protocol):
    """What may stop an order request at the last moment."""

    def __call__(self, *, reduces: bool) -> str | None:
        """Why a request that only reduces (or may open) must not leave; None where it may."""
        ...


_ORDERS, _POSITIONS = "alpaca_orders", "alpaca_positions"

# Alpaca's own maximum.
_ORDERS_PAGE = 500

_log = structlog.get_logger(__name__)


class AlpacaConnector(AlpacaReads):
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
        base = check_base_url(base_url or alpaca.get("base_url") or default_url, "alpaca.base_url")
        data = check_base_url(data_url or alpaca.get("data_url") or DATA_URL, "alpaca.data_url")
        key = check_key(api_key or alpaca.get("api_key"), "alpaca.api_key")
        secret = check_key(api_secret or alpaca.get("api_secret"), "alpaca.api_secret")
        for url in (base, data):
            if url.startswith("http:") and not is_loopback(url):
                _log.warning("alpaca.keys_in_clear", url=url, advice="use https unless the network is your own")
        http = AlpacaHttp(
            headers={"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret},
            base_urls=(base, data),
            throttler=throttler or create_combined_throttler(clock=clock),
            clock=clock or RealTimeClock(),
            timeouts=timeouts or Timeouts(),
            retries=retries or RetryPolicy(),
            backoff=backoff or (lambda: Backoff(base=0.5, cap=8.0)),
            transport=transport,
            sleep=sleep,
        )
        super().__init__(http, base=base, data=data, feed=feed or alpaca.get("feed") or "iex")

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
        terms: OrderTerms | None = None,
    ) -> Row:
        """Send one order, once. Give a ``client_order_id``: without one an unknown outcome cannot be looked up.

        Args:
            symbol: "AAPL", "BTC/USD".
            qty: Shares or coins.
            side: ``buy`` or ``sell``, in any case.
            order_type: Default: what follows from the prices, e.g. limit where one is given.
            time_in_force: Default ``day``, for coins ``gtc``.
            limit_price: USD.
            price: The same, as the guide calls it.
            client_order_id: At most 128 characters, never used before.
            terms: Stops, trails, and exits that come with it.

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
            (order_type or order_type_of(limit_decimal, terms)).lower(),
            (time_in_force or ("gtc" if wire.is_crypto_symbol(symbol) else "day")).lower(),
            limit_price=limit_decimal,
            client_order_id=client_order_id,
            terms=terms,
        )
        url = f"{self._base}/v2/orders"
        # Whether it reduces, nobody has said: it counts as an order that opens.
        row = await self._http.send(_ORDERS, "POST", url, body=body, admit=self._admission(None, reduces=False))
        return as_object(row, "an order")

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
        query = params(
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
        return as_list(await self._http.read(_ORDERS, f"{self._base}/v2/orders", query), "a list of orders")

    async def get_open_orders(self) -> list[Row]:
        """All open orders, oldest first, however many."""
        return await self._all_orders(status="open")

    async def get_all_orders(
        self, *, status: str = "all", after: str | None = None, direction: str = "asc", nested: bool = False
    ) -> list[Row]:
        """All orders, however many, each once.

        Args:
            status: ``open``, ``closed`` or ``all``.
            after: Only those submitted after this RFC 3339 time; with ``asc`` only.
            direction: ``asc``: oldest first; ``desc``: newest first.
            nested: Whether the orders that depend on another one stand in it.

        Raises:
            ConfigurationError: ``after`` with ``desc``: the venue cannot tell where that would end.
        """
        if after is not None and direction != "asc":
            message = "get_all_orders takes after only with direction asc"
            raise ConfigurationError(message)
        return await self._all_orders(status=status, after=after, direction=direction, nested=nested)

    async def get_order(self, order_id: str, *, nested: bool = False) -> Row:
        """One order by the venue's id; nested: with the orders that depend on it.

        Raises:
            BrokerRefusedError: The venue has no such order.
        """
        url, asked = f"{self._base}/v2/orders/{escaped(order_id)}", params(nested="true" if nested else None)
        return as_object(await self._http.read(_ORDERS, url, asked, reserved=nested), "an order")

    async def get_order_by_client_id(self, client_order_id: str) -> Row:
        """One order by our id.

        Raises:
            BrokerRefusedError: The venue has no such order.
        """
        url, query = f"{self._base}/v2/orders:by_client_order_id", {"client_order_id": client_order_id}
        return as_object(await self._http.read(_ORDERS, url, query, reserved=True), "an order")

    async def cancel_order(self, order_id: str) -> None:
        """Ask the venue to cancel, once. That it accepted the request is not yet the order's end.

        Raises:
            BrokerRefusedError: There is nothing to cancel: unknown, or closed already.
            OutcomeUnknownError: No verdict.
        """
        await self._http.send(_ORDERS, "DELETE", f"{self._base}/v2/orders/{escaped(order_id)}", reserved=True)

    async def cancel_all_orders(self) -> list[Row]:
        """Ask the venue to cancel every open order of the account, once, whoever made it.

        Returns:
            Per order ``{"id", "status", "body"}``: the status is the one that its own cancel would have had.

        Raises:
            BrokerRefusedError: A definite no.
            OutcomeUnknownError: No verdict.
        """
        rows = await self._http.send(_ORDERS, "DELETE", f"{self._base}/v2/orders", reserved=True)
        return as_list(rows or [], "a list of cancels")

    async def close_position(
        self, symbol: str, *, qty: str | None = None, percentage: str | None = None, admit: Admit | None = None
    ) -> Row:
        """Have the venue close what the account holds of a symbol, with a market order of its own, once.

        For when our own books of it are in doubt: the venue knows how much there is. The order is the venue's; its
        client order id is one that we did not choose.

        Args:
            symbol: "AAPL", "BTC/USD".
            qty: Only so much of it.
            percentage: Only such a part of it, from 0 to 100.
            admit: As for ``place``.

        Returns:
            That order.

        Raises:
            BrokerRefusedError: A definite no: there is no position, or open orders hold it.
            OutcomeUnknownError: No verdict: look at the position.
            OrderDroppedError: It never left this process.
        """
        # Alpaca names positions without the slash, and answers 404 to one that has it.
        url = f"{self._base}/v2/positions/{escaped(symbol.replace('/', ''))}"
        may_leave = self._admission(admit, reduces=True)
        query = params(qty=qty, percentage=percentage)
        row = await self._http.send(
            _POSITIONS, "DELETE", url, params=query, admit=may_leave, reserved=True, judged_as=CLOSE
        )
        return as_object(row, "an order")

    async def close_all_positions(self, *, cancel_orders: bool = False) -> list[Row]:
        """Have the venue close every position of the account, once, whoever opened it.

        Args:
            cancel_orders: Whether it shall cancel all open orders first.

        Returns:
            Per position ``{"symbol", "status", "body"}``: the status is the one that its own request would have had.

        Raises:
            BrokerRefusedError: A definite no.
            OutcomeUnknownError: No verdict.
            OrderDroppedError: It never left this process.
        """
        rows = await self._http.send(
            _POSITIONS,
            "DELETE",
            f"{self._base}/v2/positions",
            params=params(cancel_orders="true" if cancel_orders else None),
            admit=self._admission(None, reduces=True),
            reserved=True,
            judged_as=CLOSE,
        )
        return as_list(rows or [], "a list of closed positions")

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
        url, may_leave = f"{self._base}/v2/orders/{escaped(broker_id)}", self._admission(admit, reduces=reduces)
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
        if report.legs is None and report.terms is not None and report.terms.is_group:
            return await self.fetch_order(report.broker_id)  # by our id alone the legs are not told
        return report

    async def fetch_order(self, broker_id: str) -> OrderReport | None:
        """The order with this id of the venue, and what depends on it; None where Alpaca itself says that it has none.

        Raises:
            BrokerRefusedError: The look-up was refused.
            OutcomeUnknownError: Nothing was learned.
        """
        try:
            row = await self.get_order(broker_id, nested=True)
        except BrokerRefusedError as error:
            if is_missing(error):
                return None
            raise
        report = wire.order_report(row, whole=True)
        if report.broker_id != broker_id:
            message = f"the venue answered a look-up of its {broker_id} with order {report.broker_id}"
            raise MalformedMessageError(message, row)
        return report

    async def request_cancel(self, broker_id: str) -> None:
        """Ask the venue to cancel, once; its event is the final word. Raises what ``cancel_order`` raises."""
        await self.cancel_order(broker_id)

    async def request_close(self, symbol: str, *, admit: Admit | None = None) -> OrderReport:
        """Have the venue close a whole position, once; its order. Arguments and errors as ``close_position``."""
        return wire.order_report(await self.close_position(symbol, admit=admit))

    async def fetch_open_orders(self) -> tuple[OrderReport, ...]:
        """All open orders, oldest first; those that depend on another one stand in it, as Alpaca leaves them out of a flat list."""
        return self._reports(await self._all_orders(status="open", nested=True))

    async def fetch_orders(self, since: int) -> tuple[OrderReport, ...]:
        """Open orders, however old, and all that were submitted at or after a moment (UTC ns); oldest first."""
        # Open ones first: what closes between the two requests is then told by the second, or was told as open.
        resting = await self.fetch_open_orders()
        # The venue's "after" is exclusive and its clocks are in milliseconds: ask a little earlier.
        after = format_rfc3339(max(since - NS_PER_MS, 0))
        recent = self._reports(await self._all_orders(status="all", after=after, nested=True))
        known = {report.broker_id for report in recent}
        return (*(report for report in resting if report.broker_id not in known), *recent)

    def _reports(self, rows: list[Row]) -> tuple[OrderReport, ...]:
        """Reports of all orders that this engine could have made; combinations of options are named and left out."""
        ours = []
        for row in rows:
            if wire.is_multi_leg(row):
                _log.warning("alpaca.multi_leg_order_ignored", order=row)
            else:
                ours.append(row)
        return tuple(self._rows.read(ours, wire.order_report))

    def _admission(self, admit: Admit | None, *, reduces: bool) -> Admit:
        """The brake first, then whoever asks: what it counts must leave."""
        return lambda: self._brake(reduces=reduces) or (None if admit is None else admit())

    # ------------------------------------------------------------------ paging

    async def _all_orders(
        self, *, status: str, after: str | None = None, direction: str = "asc", nested: bool = False
    ) -> list[Row]:
        """Walk all pages by order id: times may repeat, and one page never holds more than 500."""
        forward = direction == "asc"

        async def page(last: str | None) -> list[Row]:
            # The venue does not combine a time with an order id: the id alone goes on from where it is.
            return await self.get_orders(
                status=status,
                after=after if last is None else None,
                direction=direction,
                nested=nested,
                after_order_id=last if forward else None,
                before_order_id=None if forward else last,
            )

        return await self._rows.walk(page, size=_ORDERS_PAGE, what="orders")


# ---------------------------------------------------------------------- leaves


def _no_brake(*, reduces: bool) -> str | None:  # noqa: ARG001 - the signature of a brake
    return None


def _section(config: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    section = (config or {}).get(name) or {}
    if not isinstance(section, Mapping):
        message = f"configuration key {name!r} is {type(section).__name__}, expected a table of settings"
        raise ConfigurationError(message)
    return section
