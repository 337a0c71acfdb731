"""What Alpaca's REST API tells, raw for people and typed for the runner; orders are in ``holdfast.brokers.alpaca``.

Everything here is a read and is tried again while that may help, save ``configure_account``, which is sent once.
"""

from __future__ import annotations

from typing import Any

from holdfast.brokers import alpaca_reference as reference
from holdfast.brokers import alpaca_wire as wire
from holdfast.brokers.alpaca_activities import activity
from holdfast.brokers.alpaca_endpoints import CRYPTO_LOCATION
from holdfast.brokers.alpaca_errors import is_missing
from holdfast.brokers.alpaca_http import AlpacaHttp
from holdfast.brokers.alpaca_pages import OnMalformed, Row, Rows, as_list, as_object, escaped, params, stuck
from holdfast.model.errors import BrokerAuthError, BrokerRefusedError, UnknownSymbolError
from holdfast.model.market import Asset, Bar
from holdfast.model.orders import Account, AccountActivity, BrokerPosition, Execution
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_SECOND, format_rfc3339

_ACCOUNT, _POSITIONS, _ASSETS = "alpaca_account", "alpaca_positions", "alpaca_assets"
_CLOCK, _ACTIVITIES, _BARS = "alpaca_clock", "alpaca_activities", "alpaca_bars"

# Alpaca's own maxima.
_ACTIVITIES_PAGE = 100
_BARS_PAGE = 10_000
# How late an activity that is no trade may be posted.
_POSTED_LATE = 2 * NS_PER_DAY


class AlpacaReads:
    """The reading half of ``AlpacaConnector``.

    Args:
        http: The conversation.
        base: The trading API.
        data: The market-data API.
        feed: Whose stock bars.
    """

    def __init__(self, http: AlpacaHttp, *, base: str, data: str, feed: str) -> None:
        self._http, self._base, self._data, self._feed = http, base, data, feed
        self._rows = Rows()

    def on_malformed(self, handler: OnMalformed) -> None:
        """``handler(reason, row)`` is called for each row of a list that could not be read and was left out.

        The same row is told once. Rows of market data are not told: the books do not depend on them.
        """
        self._rows.on_malformed(handler)

    def get_stats(self) -> dict[str, Any]:
        """Requests, retries, refusals, unknown outcomes and rows that could not be read, since the start."""
        return {**self._http.get_stats(), "malformed": self._rows.malformed}

    # ------------------------------------------------------------------ raw

    async def get_account(self) -> Row:
        """The account."""
        return as_object(await self._http.read(_ACCOUNT, f"{self._base}/v2/account"), "an account")

    async def get_positions(self) -> list[Row]:
        """All positions. Coins are named without a slash here: "BTCUSD"."""
        return as_list(await self._http.read(_POSITIONS, f"{self._base}/v2/positions"), "a list of positions")

    async def get_asset(self, symbol: str) -> Row:
        """What the venue says of a symbol.

        Raises:
            BrokerRefusedError: It has no such symbol.
        """
        return as_object(await self._http.read(_ASSETS, f"{self._base}/v2/assets/{escaped(symbol)}"), "an asset")

    async def get_position(self, symbol: str) -> Row:
        """One position.

        Raises:
            NotFoundError: There is none.
        """
        # Alpaca names positions without the slash, and answers 404 to one that has it.
        url = f"{self._base}/v2/positions/{escaped(symbol.replace('/', ''))}"
        return as_object(await self._http.read(_POSITIONS, url), "a position")

    async def get_assets(self, *, status: str | None = None, asset_class: str | None = None) -> list[Row]:
        """All assets of a status (``active``, ``inactive``) and class (default ``us_equity``), in one list."""
        query = params(status=status, asset_class=asset_class)
        return as_list(await self._http.read(_ASSETS, f"{self._base}/v2/assets", query), "a list of assets")

    async def get_account_configuration(self) -> Row:
        """What the account's owner has set."""
        url = f"{self._base}/v2/account/configurations"
        return as_object(await self._http.read(_ACCOUNT, url), "an account's settings")

    async def configure_account(self, **changes: Any) -> Row:
        """Change settings of the account, once, and return all of them as they are then.

        Args:
            changes: Those to change: ``no_shorting=True``.

        Raises:
            BrokerRefusedError: A definite no: nothing was changed.
            OutcomeUnknownError: No verdict: read them.
        """
        url = f"{self._base}/v2/account/configurations"
        row = await self._http.send(_ACCOUNT, "PATCH", url, body=changes)
        return as_object(row, "an account's settings")

    async def get_portfolio_history(self, **query: str) -> Row:
        """The account's equity over time: ``period``, ``timeframe``, ``start``, ``end``, ``intraday_reporting`` ..."""
        url = f"{self._base}/v2/account/portfolio/history"
        return as_object(await self._http.read(_ACCOUNT, url, query), "an account's history")

    async def get_clock(self) -> Row:
        """The venue's clock of the stock exchange."""
        return as_object(await self._http.read(_CLOCK, f"{self._base}/v2/clock"), "a clock")

    async def get_calendar(self, *, start: str | None = None, end: str | None = None) -> list[Row]:
        """Trading days between two dates (``YYYY-MM-DD``)."""
        query = params(start=start, end=end)
        return as_list(await self._http.read(_CLOCK, f"{self._base}/v2/calendar", query), "a calendar")

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
        query = params(after=after, until=until, direction=direction, page_size=str(page_size), page_token=page_token)
        url = f"{self._base}/v2/account/activities/{escaped(activity_type)}"
        return as_list(await self._http.read(_ACTIVITIES, url, query), "a list of activities")

    async def get_bars(
        self, symbol: str, timeframe: str = "1Min", start: str | None = None, end: str | None = None
    ) -> list[Row]:
        """All bars of a symbol that start between two RFC 3339 times (both included), oldest first."""
        is_crypto = wire.is_crypto_symbol(symbol)
        path = f"/v1beta3/crypto/{CRYPTO_LOCATION}/bars" if is_crypto else "/v2/stocks/bars"
        query = params(
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
            page = as_object(await self._http.read(_BARS, self._data + path, query), "a page of bars")
            by_symbol = as_object(page.get("bars") or {}, "bars by symbol")
            rows += as_list(by_symbol.get(symbol) or [], "a list of bars")
            token = page.get("next_page_token")
            if not token:
                return rows
            if token in seen:
                raise stuck(page, "bars")
            seen.add(token)
            query = {**query, "page_token": token}

    # ------------------------------------------------------------------ typed

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
        after = format_rfc3339(max(since // NS_PER_SECOND - 1, 0) * NS_PER_SECOND)
        rows = await self._rows.walk(
            lambda token: self.get_activities("FILL", after=after, page_token=token),
            size=_ACTIVITIES_PAGE,
            what="activities",
        )
        return wire.in_order_of_trading(self._rows.read(rows, wire.execution_from_activity))

    async def fetch_adjustments(self, since: int) -> tuple[AccountActivity, ...]:
        """Activities that are no trades, from two days before a moment on (UTC ns), oldest first: count by id.

        Fees, dividends and the like are posted late, and dated by the day.
        """
        after = format_rfc3339(max(since - _POSTED_LATE, 0) // NS_PER_SECOND * NS_PER_SECOND)

        async def page(token: str | None) -> list[Row]:
            query = params(
                category="non_trade_activity",
                after=after,
                direction="asc",
                page_size=str(_ACTIVITIES_PAGE),
                page_token=token,
            )
            url = f"{self._base}/v2/account/activities"
            return as_list(await self._http.read(_ACTIVITIES, url, query), "a list of activities")

        rows = await self._rows.walk(
            page, size=_ACTIVITIES_PAGE, what="activities", key=lambda row: f"{row['id']}:{row.get('status')}"
        )
        found = []
        for row in rows:
            one = activity(row)
            if one is None:
                self._rows.skip("the venue sent an activity that cannot be read", row)
            else:
                found.append(one)
        return tuple(found)

    async def fetch_bars(self, symbol: str, start: int, end: int, period: int) -> list[Bar]:
        """All bars that lie within ``[start, end]`` (UTC ns), oldest first; ``period`` is their length (ns).

        Raises:
            DataError: Alpaca has no bars of this length.
        """
        frame = wire.timeframe(period)
        if end - start < period:
            return []
        rows = await self.get_bars(symbol, frame, format_rfc3339(start), format_rfc3339(end - period))
        bars = self._rows.read(rows, lambda row: wire.bar(row, symbol, period), tell=False)
        return [bar for bar in bars if bar.ts - period >= start and bar.ts <= end]

    async def fetch_clock(self) -> reference.MarketClock:
        """The venue's clock of the stock exchange."""
        return reference.market_clock(await self.get_clock())

    async def fetch_calendar(
        self, *, start: str | None = None, end: str | None = None
    ) -> tuple[reference.MarketDay, ...]:
        """Trading days between two dates (``YYYY-MM-DD``). One that cannot be read is left out."""
        return tuple(self._rows.read(await self.get_calendar(start=start, end=end), reference.market_day, tell=False))

    async def fetch_position(self, symbol: str) -> BrokerPosition | None:
        """The position in a symbol; None where Alpaca itself says that there is none."""
        try:
            return wire.position(await self.get_position(symbol))
        except BrokerRefusedError as error:
            if is_missing(error):
                return None
            raise

    async def fetch_assets(self, *, status: str | None = "active", asset_class: str | None = None) -> tuple[Asset, ...]:
        """All that can be traded, or was. One that cannot be read is left out, the thousands of others are not."""
        rows = await self.get_assets(status=status, asset_class=asset_class)
        return tuple(self._rows.read(rows, wire.asset, tell=False))

    async def fetch_account_configuration(self) -> reference.AccountConfiguration:
        """What the account's owner has set."""
        return reference.account_configuration(await self.get_account_configuration())

    async def fetch_portfolio_history(self, **query: str) -> reference.PortfolioHistory:
        """The account's equity over time. Arguments as ``get_portfolio_history``."""
        return reference.portfolio_history(await self.get_portfolio_history(**query))
