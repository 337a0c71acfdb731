"""A local server that answers as the market-data vendors do: Alpaca's data API and Massive's (Polygon's), over real sockets.

It serves what it was given, page by page, and misbehaves on request: a ``script`` of answers is given before its own ones.

    async with VendorServer() as vendors:
        vendors.add("SPY", "1Min", table)
        provider = PolygonProvider(vendors.key, throttler, base_url=vendors.url)

Or as a process of its own, for tests that kill their client: ``python -m holdfast.testing.vendors SPY``, which
serves synthetic sessions and prints its URL. It is written for tests: it trusts whoever asks.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import numpy as np

from holdfast.data.actions import Action, Dividend, Split
from holdfast.data.calendar_cache import kept_calendar
from holdfast.data.synthetic import synthetic_sessions
from holdfast.data.tables import UNKNOWN_COUNT, BarTable, table_of
from holdfast.model.market import Quote, Trade
from holdfast.model.timestamps import NS_PER_MS, format_rfc3339, parse_rfc3339
from holdfast.time.sessions import NYSE

KEY: Final = "pk_5eCretKeyOfNobody"
SECRET: Final = "secret-of-nobody"  # noqa: S105 - nobody's

# Our unit -> Massive's.
_UNITS: Final = {"second": "Sec", "minute": "Min", "hour": "Hour", "day": "Day", "week": "Week", "month": "Month"}
_HEAD_MAX: Final = 100


class Answer(NamedTuple):
    """A scripted answer, given instead of the server's own.

    Attributes:
        status: Of HTTP; 0 cuts the connection, -1 never answers, -2 cuts it in the middle of its own answer.
        body: Text as it is, anything else as JSON.
        headers: Beside the length.
    """

    status: int
    body: Any = ""
    headers: tuple[tuple[str, str], ...] = ()


#: What the vendors have been seen to answer when something is wrong.
UNKNOWN_KEY = Answer(401, {"status": "ERROR", "request_id": "r401", "error": "Unknown API Key"})
NOT_ENTITLED = Answer(
    403,
    {
        "status": "NOT_AUTHORIZED",
        "request_id": "r403",
        "message": "You are not entitled to this data. Please upgrade your plan.",
    },
)
TOO_MANY = Answer(429, {"status": "ERROR", "request_id": "r429", "error": "too many requests in the last minute"})
HTML = Answer(502, "<html><body>Bad gateway</body></html>", (("Content-Type", "text/html"),))
CUT = Answer(0)
MUTE = Answer(-1)
CUT_IN_MID_PAGE = Answer(-2)
SIP_TOO_RECENT = Answer(403, {"code": 42210000, "message": "subscription does not permit querying recent SIP data"})


class Request(NamedTuple):
    """What came in."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


class VendorServer:
    """Both vendors on one port of this machine.

    Attributes:
        page_size: Rows a page at most.
        status: What Massive says of its answers: OK, or DELAYED.
        next_host: Massive's idea of its own name, in ``next_url``.
        script: Answers to give first.
        refuse_when: While it says so, every request is refused: not in the plan.
        requests: All that was asked.
        url: Where it is; set once it runs.
        delay: Seconds before each answer, so that a client can be caught in the middle.
    """

    def __init__(self) -> None:
        self.page_size = 50_000
        self.status = "OK"
        self.next_host = "https://api.massive.com"
        self.script: list[Answer] = []
        self.refuse_when: Callable[[], bool] | None = None
        self.requests: list[Request] = []
        self.url = ""
        self.delay = 0.0
        self.actions: dict[str, list[Action]] = {}
        self._bars: dict[tuple[str, str], BarTable] = {}
        self._ticks: dict[tuple[str, str], Sequence[Trade] | Sequence[Quote]] = {}
        self._server: asyncio.Server | None = None
        self._conversations: set[asyncio.Task[None]] = set()

    def add(self, symbol: str, timeframe: str, table: BarTable) -> None:
        """Serve these bars (in place of earlier ones)."""
        self._bars[symbol, timeframe] = table

    def add_trades(self, symbol: str, trades: Sequence[Trade]) -> None:
        """Serve these trades."""
        self._ticks[symbol, "trades"] = trades

    def add_quotes(self, symbol: str, quotes: Sequence[Quote]) -> None:
        """Serve these quotes."""
        self._ticks[symbol, "quotes"] = quotes

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._conversations:
            task.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    # ------------------------------------------------------------------ HTTP

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._conversations.add(asyncio.ensure_future(self._talk(reader, writer)))

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                target = line.split()[1].decode()
                headers = {}
                for _ in range(_HEAD_MAX):
                    header = (await reader.readline()).decode().strip()
                    if not header:
                        break
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                parts = urlsplit(target)
                query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
                self.requests.append(Request(unquote(parts.path), query, headers))
                await asyncio.sleep(self.delay)
                if self.refuse_when is not None and self.refuse_when():
                    answer = NOT_ENTITLED
                else:
                    answer = self.script.pop(0) if self.script else self._answer(self.requests[-1])
                if not await self._give(answer, reader, writer):
                    return
        except (ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    async def _give(self, answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if answer.status == CUT.status:
            return False
        if answer.status == MUTE.status:
            await reader.read()  # until the client gives up
            return False
        is_cut = answer.status == CUT_IN_MID_PAGE.status
        if is_cut:
            answer = self._answer(self.requests[-1])
        body = answer.body.encode() if isinstance(answer.body, str) else msgspec.json.encode(answer.body)
        extra = "".join(f"{name}: {value}\r\n" for name, value in answer.headers)
        head = f"HTTP/1.1 {answer.status} X\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode()
        writer.write(head + (body[: len(body) // 2] if is_cut else body))
        await writer.drain()
        return not is_cut

    def _answer(self, request: Request) -> Answer:
        routes: tuple[tuple[str, Callable[[Request], Answer]], ...] = (
            ("/v2/aggs/", self._aggregates),
            ("/v3/trades/", self._massive_ticks),
            ("/v3/quotes/", self._massive_ticks),
            ("/v3/reference/", self._references),
            ("/v2/stocks/", self._alpaca),
            ("/v1beta3/crypto/us/", self._alpaca),
            ("/v1/corporate-actions", self._corporate_actions),
        )
        for prefix, route in routes:
            if request.path.startswith(prefix):
                is_massive = prefix in ("/v2/aggs/", "/v3/trades/", "/v3/quotes/", "/v3/reference/")
                if is_massive and request.headers.get("authorization") != f"Bearer {KEY}":
                    return UNKNOWN_KEY
                if not is_massive and request.headers.get("apca-api-key-id") != KEY:
                    return Answer(401, {"message": "unauthorized."})
                return route(request)
        return Answer(404, "404 page not found")

    # ------------------------------------------------------------------ Massive

    def _massive_page(self, request: Request, rows: Sequence[Any], **extra: Any) -> Answer:
        """One page: ``results`` is left out when empty, and ``next_url`` carries no key."""
        begin = int(request.query.get("cursor", "0"))
        shown = rows[begin : begin + self.page_size]
        page: dict[str, Any] = {"status": self.status, "request_id": "r200", **extra}
        if shown:
            page["results"] = shown
        if begin + self.page_size < len(rows):
            query = "&".join(f"{name}={value}" for name, value in request.query.items() if name != "cursor")
            page["next_url"] = f"{self.next_host}{request.path}?{query}&cursor={begin + self.page_size}"
        return Answer(200, page)

    def _aggregates(self, request: Request) -> Answer:
        _, _, _, _, ticker, _, count, unit, first, last = request.path.split("/")
        symbol = _symbol_of(ticker)
        table = self._bars.get((symbol, f"{count}{_UNITS[unit]}"), BarTable.empty())
        rows = [
            _without_unknown({"t": start // NS_PER_MS, "o": o, "h": h, "l": low, "c": c, "v": v, "vw": vw, "n": n})
            for start, o, h, low, c, v, vw, n in _rows(table)
            if int(first) <= start // NS_PER_MS <= int(last)
        ]
        shown = rows[: self.page_size]
        return self._massive_page(
            request, rows, ticker=ticker, adjusted=request.query.get("adjusted") != "false", queryCount=len(rows),
            resultsCount=len(shown),
        )  # fmt: skip

    def _massive_ticks(self, request: Request) -> Answer:
        _, _, what, ticker = request.path.split("/")
        first, last = int(request.query["timestamp.gte"]), int(request.query["timestamp.lt"])
        found = [tick for tick in self._ticks.get((_symbol_of(ticker), what), ()) if first <= tick.ts < last]
        return self._massive_page(request, [_massive_tick(tick) for tick in found])

    def _references(self, request: Request) -> Answer:
        what = request.path.rsplit("/", 1)[-1]
        day = "execution_date" if what == "splits" else "ex_dividend_date"
        first, last = date.fromisoformat(request.query[f"{day}.gte"]), date.fromisoformat(request.query[f"{day}.lte"])
        ticker = request.query["ticker"]
        rows: list[dict[str, Any]] = []
        for action in self.actions.get(ticker, ()):
            if not first <= action.ex_date <= last:
                continue
            if isinstance(action, Split) and what == "splits":
                rows.append(
                    {
                        "execution_date": action.ex_date,
                        "split_from": action.old,
                        "split_to": action.new,
                        "ticker": ticker,
                    }
                )
            elif isinstance(action, Dividend) and what == "dividends":
                rows.append({"cash_amount": action.amount, "ex_dividend_date": action.ex_date, "ticker": ticker})
        return self._massive_page(request, rows)

    # ------------------------------------------------------------------ Alpaca

    def _alpaca(self, request: Request) -> Answer:
        what, symbol = request.path.rsplit("/", 1)[-1], request.query["symbols"]
        first, last = parse_rfc3339(request.query["start"]), parse_rfc3339(request.query["end"])
        if what == "bars":
            table = self._bars.get((symbol, request.query["timeframe"]), BarTable.empty())
            rows = [
                _without_unknown(
                    {"t": format_rfc3339(start), "o": o, "h": h, "l": low, "c": c, "v": v, "vw": vw, "n": n}
                )
                for start, o, h, low, c, v, vw, n in _rows(table)
                if first <= start <= last
            ]
        else:
            ticks = self._ticks.get((symbol, what), ())
            rows = [_alpaca_tick(tick) for tick in ticks if first <= tick.ts <= last]
        return self._alpaca_page(request, lambda shown: {what: {symbol: shown} if shown else {}}, rows)

    def _corporate_actions(self, request: Request) -> Answer:
        symbol = request.query["symbols"]
        first, last = date.fromisoformat(request.query["start"]), date.fromisoformat(request.query["end"])
        found = [_alpaca_action(symbol, action) for action in self.actions.get(symbol, ())]
        rows = [(kind, row) for kind, row in found if first <= row["process_date"] <= last]

        def page(shown: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
            kinds: dict[str, list[dict[str, Any]]] = {}
            for kind, row in shown:
                kinds.setdefault(kind, []).append(row)
            return {"corporate_actions": kinds}

        return self._alpaca_page(request, page, rows)

    def _alpaca_page(self, request: Request, page: Callable[[Any], dict[str, Any]], rows: Sequence[Any]) -> Answer:
        size = min(self.page_size, int(request.query.get("limit", "1000")))
        begin = int(request.query.get("page_token", "0"))
        token = str(begin + size) if begin + size < len(rows) else None
        return Answer(200, {**page(rows[begin : begin + size]), "next_page_token": token})


def _rows(table: BarTable) -> Any:
    return zip(*(column.tolist() for column in table), strict=True)


def _without_unknown(row: dict[str, Any]) -> dict[str, Any]:
    if math.isnan(row["vw"]):
        del row["vw"]
    if row["n"] == UNKNOWN_COUNT:
        del row["n"]
    return row


def _symbol_of(ticker: str) -> str:
    """``X:BTCUSD`` and ``X:BTC-USD`` are BTC/USD."""
    if not ticker.startswith("X:"):
        return ticker
    pair = ticker.removeprefix("X:")
    return pair.replace("-", "/") if "-" in pair else f"{pair[:-3]}/{pair[-3:]}"


_MASSIVE_NUMBERS: Final = {"@": 0, "T": 12, "F": 14, "I": 37, "W": 2, "Z": 33}


def _massive_tick(tick: Trade | Quote) -> dict[str, Any]:
    if isinstance(tick, Trade):
        return {
            "participant_timestamp": tick.ts, "sip_timestamp": tick.ts + 350_000, "price": tick.price, "size": tick.size,
            "id": tick.id, "conditions": [_MASSIVE_NUMBERS[mark] for mark in tick.conditions], "exchange": 4,
            "tape": {"A": 1, "B": 2, "C": 3}.get(tick.tape, 0), "sequence_number": 1,
        }  # fmt: skip
    return {
        "participant_timestamp": tick.ts, "sip_timestamp": tick.ts + 350_000, "bid_price": tick.bid, "ask_price": tick.ask,
        "bid_size": tick.bid_size, "ask_size": tick.ask_size, "sequence_number": 1,
    }  # fmt: skip


def _alpaca_tick(tick: Trade | Quote) -> dict[str, Any]:
    if isinstance(tick, Trade):
        return {
            "t": format_rfc3339(tick.ts), "x": tick.exchange, "p": tick.price, "s": tick.size, "c": list(tick.conditions),
            "i": int(tick.id or 0), "z": tick.tape,
        }  # fmt: skip
    return {
        "t": format_rfc3339(tick.ts), "bx": "V", "bp": tick.bid, "bs": tick.bid_size, "ax": "V", "ap": tick.ask,
        "as": tick.ask_size, "c": ["R"], "z": "B",
    }  # fmt: skip


def _alpaca_action(symbol: str, action: Action) -> tuple[str, dict[str, Any]]:
    row: dict[str, Any] = {"symbol": symbol, "ex_date": action.ex_date, "process_date": action.ex_date}
    if isinstance(action, Dividend):
        paid = {
            "process_date": action.ex_date + timedelta(days=30),
            "payable_date": action.ex_date + timedelta(days=30),
        }
        return "cash_dividends", {**row, **paid, "rate": action.amount, "special": False, "foreign": False}
    kind = "forward_splits" if action.new > action.old else "reverse_splits"
    return kind, {**row, "new_rate": action.new, "old_rate": action.old}


# ------------------------------------------------------------------------------------- as a process


def minutes_of(symbol: str, sessions: int, start: str, seed: int = 7) -> BarTable:
    """SYNTHETIC one-minute bars of some sessions, as a vendor would have them."""
    table = table_of(synthetic_sessions([symbol], sessions, seed, start)[symbol])
    typical = np.round((table.high + table.low + table.close) / 3.0, 4)
    return table._replace(vwap=typical, trades=np.maximum(table.volume // 100, 1).astype(np.int64))


async def _serve(symbols: Mapping[str, tuple[int, str]], page_size: int, delay: float) -> None:
    async with VendorServer() as server:
        server.page_size, server.delay = page_size, delay
        for symbol, (sessions, start) in symbols.items():
            server.add(symbol, "1Min", minutes_of(symbol, sessions, start))
            first = date.fromisoformat(start)
            server.actions[symbol] = [
                Split(first + timedelta(days=3), 2.0, 1.0),
                Dividend(first + timedelta(days=6), 0.25),
            ]
        sys.stdout.write(server.url + "\n")
        sys.stdout.flush()
        # It ends with whoever started it: then its standard input ends too.
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        await reader.read()


def main() -> None:
    """Serve synthetic sessions until standard input ends."""
    NYSE.read = kept_calendar
    parser = argparse.ArgumentParser(
        description="Answers as Alpaca's and Massive's market-data APIs do, on this machine."
    )
    parser.add_argument("symbols", nargs="+", help="Whose SYNTHETIC minutes.")
    parser.add_argument("--sessions", type=int, default=10, help="How many sessions of each.")
    parser.add_argument("--start", default="2024-01-02", help="The first day.")
    parser.add_argument("--page-size", type=int, default=1_000, help="Rows a page.")
    parser.add_argument("--delay", type=float, default=0.0, help="Seconds before each answer.")
    found = parser.parse_args()
    symbols = dict.fromkeys(found.symbols, (found.sessions, found.start))
    asyncio.run(_serve(symbols, found.page_size, found.delay))


if __name__ == "__main__":
    main()
