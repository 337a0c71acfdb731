"""The one place that knows Alpaca's field names: JSON objects in, ``holdfast.model`` values out, and back.

Two rules, both learnt from clients that went deaf on one unexpected word:

* What we do not know never breaks what we do know. Extra fields are ignored; an unknown status is
  ``OrderStatus.UNKNOWN`` with the word kept; an unknown event still delivers its order.
* What we need and cannot read is an error that keeps the whole offending object, so that whoever
  catches it can log it and ask the venue again.

Amounts are strings on Alpaca's wire, but numbers are accepted too. Times are RFC 3339 with up to nine decimals.
Coins are "BTC/USD" everywhere except in positions, which say "BTCUSD"; here both become "BTC/USD".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from math import inf
from typing import Any

from holdfast.model.enums import AssetClass, OrderClass, OrderSide, OrderStatus, Outcome, Source
from holdfast.model.errors import DataError, OutcomeUnknownError
from holdfast.model.events import OrderFilled, OrderUpdated
from holdfast.model.market import Asset, Bar, Quote
from holdfast.model.orders import Account, BrokerPosition, Execution, OrderIntent, OrderReport
from holdfast.model.terms import OrderTerms, terms_or_none
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_MS, parse_rfc3339

Json = Mapping[str, Any]


class MalformedMessageError(OutcomeUnknownError):
    """The venue said something that we cannot read: no verdict. ``payload`` keeps it whole."""

    default_outcome = Outcome.MALFORMED

    def __init__(self, message: str, payload: object, *, request_id: str | None = None) -> None:
        super().__init__(message, request_id=request_id)
        self.payload = payload


#: What reading a JSON value of the wrong shape can raise: nothing else is caught.
UNREADABLE = (KeyError, ValueError, TypeError, AttributeError, OverflowError, DataError)


def malformed(error: Exception, what: str, payload: object, sender: str = "the venue") -> MalformedMessageError:
    """The error for something of the wrong shape, made of what reading it has raised.

    Args:
        error: What was raised.
        what: What was read, with its article.
        payload: The whole of it.
        sender: Who sent it.
    """
    reason = f"it has no {error.args[0]!r}" if isinstance(error, KeyError) else str(error)
    return MalformedMessageError(f"{sender} sent {what} that cannot be read: {reason}", payload)


# ---------------------------------------------------------------------- vocabularies

# The venue's words for a status. Our own four (created, submitted, unknown, never_sent) are not
# among them: a venue that says "unknown" has said a word that we do not know.
_OURS = frozenset({OrderStatus.CREATED, OrderStatus.SUBMITTED, OrderStatus.UNKNOWN, OrderStatus.NEVER_SENT})
VENUE_STATUSES: dict[str, OrderStatus] = {status.value: status for status in OrderStatus if status not in _OURS}

SIDES: dict[str, OrderSide] = {
    "buy": OrderSide.BUY,
    "buy_minus": OrderSide.BUY,
    "sell": OrderSide.SELL,
    "sell_plus": OrderSide.SELL,
    "sell_short": OrderSide.SELL,
    "sell_short_exempt": OrderSide.SELL,
}

FILL_EVENTS = frozenset({"fill", "partial_fill"})

# Events after which the order alone does not tell the whole story: the venue changed its mind about
# an execution, so the executions have to be asked for again; or about a replacement, and the message is of the old order.
REVISION_EVENTS: dict[str, str] = {
    "order_replace_rejected": "the venue did not replace an order",
    "trade_bust": "the venue took an execution back",
    "trade_correct": "the venue corrected an execution",
    "restated": "the venue restated the order",
}

# Longest first: "BTCUSDT" is BTC/USDT, not BTCT in USD.
QUOTE_CURRENCIES = ("USDT", "USDC", "USD", "BTC")


# ---------------------------------------------------------------------- symbols


def is_crypto_symbol(symbol: str) -> bool:
    """Whether this is how a coin pair is written: "BTC/USD"."""
    return "/" in symbol


def crypto_symbol(text: str) -> str:
    """The pair with its slash: "BTCUSD" and "BTC/USD" both give "BTC/USD".

    A pair in a quote currency that we do not know stays as it is.
    """
    if "/" in text:
        return text
    for quote in QUOTE_CURRENCIES:
        if text.endswith(quote) and len(text) > len(quote):
            return f"{text[: -len(quote)]}/{quote}"
    return text


def _symbol(row: Json) -> str:
    symbol = row["symbol"]
    if not isinstance(symbol, str) or not symbol:
        message = f"symbol is {symbol!r}, expected a non-empty string"
        raise ValueError(message)
    return crypto_symbol(symbol) if row.get("asset_class") == "crypto" else symbol


# ---------------------------------------------------------------------- leaves


# No amount of money or coins needs more: it keeps a hostile "1e999999999" from becoming a gigabyte of zeros.
_MAX_EXPONENT = 40


def decimal(value: object) -> Decimal:
    """An amount: a string in any notation, or a JSON number.

    Raises:
        ValueError: It is no finite number.
    """
    if type(value) is not str:
        if value is None or isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            message = f"{value!r} is not a number"
            raise ValueError(message)
        value = str(value)
    try:
        number = Decimal(value)
    except InvalidOperation:
        message = f"{value!r} is not a number"
        raise ValueError(message) from None
    if not number.is_finite() or abs(number.adjusted()) > _MAX_EXPONENT:
        message = f"{value!r} is not a finite number of a sane size"
        raise ValueError(message)
    return number


def _decimal_or_none(value: object) -> Decimal | None:
    return None if value is None or value == "" else decimal(value)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value:
        message = f"{name} is {value!r}, expected a non-empty string"
        raise ValueError(message)
    return value


def _side(value: object) -> OrderSide:
    side = SIDES.get(value) if isinstance(value, str) else None
    if side is None:
        message = f"side is {value!r}, expected buy or sell"
        raise ValueError(message)
    return side


def _flag(value: object) -> bool:
    """JSON true, or the string that some gateways make of it."""
    return value is True or value == "true"


# ---------------------------------------------------------------------- orders


def order_body(
    symbol: str,
    quantity: Decimal,
    side: str,
    order_type: str,
    time_in_force: str,
    *,
    limit_price: Decimal | None = None,
    client_order_id: str | None = None,
    terms: OrderTerms | None = None,
) -> dict[str, Any]:
    """The body of ``POST /v2/orders``. Amounts go out as plain decimal strings, never as floats or with exponents."""
    body: dict[str, Any] = {
        "symbol": symbol,
        "qty": f"{quantity:f}",
        "side": side,
        "type": order_type,
        "time_in_force": time_in_force,
    }
    if limit_price is not None:
        body["limit_price"] = f"{limit_price:f}"
    if client_order_id is not None:
        body["client_order_id"] = client_order_id
    if terms is not None:
        body |= _terms_body(terms, limit_price)
    return body


def _terms_body(terms: OrderTerms, limit_price: Decimal | None) -> dict[str, Any]:
    """What an order says of stops, trails and the exits that come with it."""
    body: dict[str, Any] = {
        name: f"{value:f}"
        for name in ("stop_price", "trail_price", "trail_percent")
        if (value := getattr(terms, name)) is not None
    }
    if terms.extended_hours:
        body["extended_hours"] = True
    if not terms.is_group:
        return body
    body["order_class"] = terms.order_class.value
    # An OCO is its own take-profit.
    take_profit = limit_price if terms.order_class is OrderClass.OCO else terms.take_profit
    if take_profit is not None:
        body["take_profit"] = {"limit_price": f"{take_profit:f}"}
    if terms.stop_loss is not None:
        body["stop_loss"] = {"stop_price": f"{terms.stop_loss:f}"}
        if terms.stop_loss_limit is not None:
            body["stop_loss"]["limit_price"] = f"{terms.stop_loss_limit:f}"
    return body


def intent_body(intent: OrderIntent) -> dict[str, Any]:
    """The body of ``POST /v2/orders`` for an intent."""
    return order_body(
        intent.symbol,
        intent.quantity,
        intent.side.value,
        intent.order_type.value,
        intent.time_in_force.value,
        limit_price=intent.limit_price,
        client_order_id=intent.client_order_id,
        terms=intent.terms,
    )


def replace_body(intent: OrderIntent) -> dict[str, Any]:
    """The body of ``PATCH /v2/orders/{id}``: all that a replacement says, since the venue keeps what is left out.

    Left out, the quantity would be the old order's original one, whatever of it has traded. Of an exit in a group it is
    left out: there the venue changes the price only.
    """
    body = intent_body(intent)
    terms = intent.terms
    trail = None if terms is None else terms.trail_price or terms.trail_percent
    if trail is not None:
        body["trail"] = f"{trail:f}"
    if terms is not None and terms.is_group:
        del body["qty"]
    return {name: body[name] for name in _REPLACEABLE if name in body}


_REPLACEABLE = ("qty", "limit_price", "stop_price", "trail", "client_order_id")


def _order_terms(order: Json) -> OrderTerms | None:
    """What the venue says of an order beyond the plain ones; a class that we do not know is none of ours."""
    word = order.get("order_class")
    stop, trail, percent = order.get("stop_price"), order.get("trail_price"), order.get("trail_percent")
    extended = order.get("extended_hours")
    if stop is trail is percent is None and not extended and word in _SIMPLE:
        return None
    return terms_or_none(
        OrderTerms(
            order_class=OrderClass(str(word)) if word in OrderClass._value2member_map_ else OrderClass.SIMPLE,
            stop_price=_decimal_or_none(stop),
            trail_price=_decimal_or_none(trail),
            trail_percent=_decimal_or_none(percent),
            extended_hours=_flag(extended),
        )
    )


_SIMPLE = (None, "", "simple")


def order_report(order: Json, *, whole: bool = False) -> OrderReport:
    """An order as the venue describes it.

    An order by notional has no quantity of its own: it is reported with what has filled of it so far.

    Args:
        order: The venue's own object.
        whole: The venue was asked for what depends on it, too: where it names nothing, there is nothing.

    Raises:
        MalformedMessageError: A field that names or measures the order is missing or unreadable.
    """
    try:
        word = _text(order["status"], "status")
        status = VENUE_STATUSES.get(word, OrderStatus.UNKNOWN)
        filled = order.get("filled_qty")
        filled_qty = Decimal(0) if filled is None else decimal(filled)
        quantity, average = order.get("qty"), order.get("filled_avg_price")
        limit_price, submitted_at = order.get("limit_price"), order.get("submitted_at")
        updated_at, legs = order.get("updated_at"), order.get("legs")
        return OrderReport(
            broker_id=_text(order["id"], "id"),
            client_order_id=_text(order["client_order_id"], "client_order_id"),
            symbol=_symbol(order),
            side=_side(order["side"]),
            status=status,
            quantity=filled_qty if quantity is None else decimal(quantity),
            filled_qty=filled_qty,
            filled_avg_price=None if average is None else decimal(average),
            order_type=order.get("type") or order.get("order_type") or "market",
            time_in_force=order.get("time_in_force") or "day",
            limit_price=None if limit_price is None else decimal(limit_price),
            submitted_at=None if submitted_at is None else parse_rfc3339(submitted_at),
            raw_status=word if status is OrderStatus.UNKNOWN else "",
            updated_at=None if updated_at is None else parse_rfc3339(updated_at),
            terms=_order_terms(order),
            legs=tuple(order_report(leg) for leg in legs) if legs else () if whole else None,
        )
    except MalformedMessageError as error:  # of a leg: what is kept is the order that it belongs to
        raise malformed(error, "an order with a leg", order) from None
    except UNREADABLE as error:
        raise malformed(error, "an order", order) from None


def is_multi_leg(order: Json) -> bool:
    """Whether this is the parent of an options combination: it has no side and no symbol of its own."""
    return order.get("order_class") == "mleg"


# ---------------------------------------------------------------------- trade updates


def _has_execution(update: Json) -> bool:
    return bool(update.get("execution_id")) and update.get("qty") is not None and update.get("price") is not None


def trade_update_events(update: Json, ts: int) -> list[OrderUpdated | OrderFilled]:
    """The kernel's events in one ``trade_updates`` message (the value of its ``data``).

    The top-level ``qty`` and ``price`` are this execution alone; ``order.filled_qty`` is the
    sum so far, and serves as the execution's ``cum_qty``. A fill that carries no execution is
    told as an order update, and ``reconcile_reason`` asks for the executions.

    Args:
        update: The message.
        ts: When we learned of it (UTC ns).

    Raises:
        MalformedMessageError: The message cannot be read; it is kept in ``payload``.
    """
    try:
        event, order = update["event"], update["order"]
        is_fill = event in FILL_EVENTS and _has_execution(update)
    except UNREADABLE as error:
        raise malformed(error, "a trade update", update) from None
    report = order_report(order)
    if not is_fill:
        return [OrderUpdated(ts=ts, report=report, source=Source.STREAM)]
    try:
        execution = Execution(
            execution_id=_text(update["execution_id"], "execution_id"),
            broker_id=report.broker_id,
            symbol=report.symbol,
            side=report.side,
            quantity=decimal(update["qty"]),
            price=decimal(update["price"]),
            at=parse_rfc3339(update["timestamp"]),
            cum_qty=report.filled_qty,
            client_order_id=report.client_order_id,
        )
    except UNREADABLE as error:
        raise malformed(error, "a fill", update) from None
    return [OrderFilled(ts=ts, execution=execution, source=Source.STREAM, report=report)]


def reconcile_reason(update: Json) -> str | None:
    """Why the venue must be asked again after this trade update, or None where it says everything itself."""
    event = update.get("event")
    if event in REVISION_EVENTS:
        return REVISION_EVENTS[event]
    if event in FILL_EVENTS and not _has_execution(update):
        return "a fill came without its execution"
    return None


def execution_from_activity(row: Json) -> Execution:
    """One row of the FILL activities. Its id is ``time::uuid``; the uuid is the execution's own.

    Raises:
        MalformedMessageError: The row cannot be read.
    """
    try:
        _, separator, execution_id = _text(row["id"], "id").partition("::")
        return Execution(
            execution_id=execution_id if separator else row["id"],
            broker_id=_text(row["order_id"], "order_id"),
            symbol=_symbol(row),
            side=_side(row["side"]),
            quantity=decimal(row["qty"]),
            price=decimal(row["price"]),
            at=parse_rfc3339(row["transaction_time"]),
            cum_qty=_decimal_or_none(row.get("cum_qty")),
        )
    except UNREADABLE as error:
        raise malformed(error, "an activity", row) from None


def in_order_of_trading(executions: Iterable[Execution]) -> tuple[Execution, ...]:
    """Oldest first. The venue lists fills of one millisecond in any order: ``cum_qty`` has theirs."""
    return tuple(sorted(executions, key=lambda fill: (fill.at // NS_PER_MS, fill.cum_qty or Decimal(0))))


# ---------------------------------------------------------------------- account, positions, assets, clock


def account(row: Json) -> Account:
    """The account.

    What is missing is read as the worst case: no crypto buying power, no margin, no shorting.

    Raises:
        MalformedMessageError: Cash, equity or buying power cannot be read.
    """
    try:
        return Account(
            account_id=_text(row["id"], "id"),
            cash=decimal(row["cash"]),
            equity=decimal(row["equity"]),
            buying_power=decimal(row["buying_power"]),
            non_marginable_buying_power=decimal(row.get("non_marginable_buying_power") or 0),
            last_equity=decimal(row.get("last_equity") or 0),
            multiplier=int(decimal(row.get("multiplier") or 1)),
            shorting_enabled=_flag(row.get("shorting_enabled")),
            trading_blocked=any(
                _flag(row.get(flag)) for flag in ("trading_blocked", "account_blocked", "trade_suspended_by_user")
            ),
            currency=row.get("currency") or "USD",
        )
    except UNREADABLE as error:
        raise malformed(error, "an account", row) from None


def position(row: Json) -> BrokerPosition:
    """One position; shorts are negative, also where a venue writes the quantity unsigned.

    Raises:
        MalformedMessageError: Symbol, quantity or price cannot be read.
    """
    try:
        quantity = decimal(row["qty"])
        return BrokerPosition(
            symbol=_symbol(row),
            quantity=-abs(quantity) if row.get("side") == "short" else quantity,
            avg_entry_price=decimal(row["avg_entry_price"]),
            current_price=_decimal_or_none(row.get("current_price")),
        )
    except UNREADABLE as error:
        raise malformed(error, "a position", row) from None


def asset(row: Json) -> Asset:
    """What the venue says of a symbol.

    Shortable means easy to borrow: a locate is more than this engine knows how to ask for. An asset of a
    class that we do not know (an option, a perpetual) is described as not tradable.

    Raises:
        MalformedMessageError: It has no readable symbol or class.
    """
    try:
        word = _text(row["class"], "class")
        known = word in AssetClass._value2member_map_
        borrowable = row.get("borrow_status", "easy_to_borrow") == "easy_to_borrow"
        if "borrow_status" not in row:
            borrowable = _flag(row.get("easy_to_borrow", True))
        return Asset(
            symbol=crypto_symbol(_text(row["symbol"], "symbol"))
            if word == "crypto"
            else _text(row["symbol"], "symbol"),
            asset_class=AssetClass(word) if known else AssetClass.US_EQUITY,
            name=row.get("name") or "",
            exchange=row.get("exchange") or "",
            tradable=known and _flag(row.get("tradable")) and row.get("status", "active") == "active",
            shortable=_flag(row.get("shortable")) and borrowable,
            marginable=_flag(row.get("marginable")),
            fractionable=_flag(row.get("fractionable")),
            min_order_size=_decimal_text(row.get("min_order_size")),
            min_trade_increment=_decimal_text(row.get("min_trade_increment")),
            price_increment=_decimal_text(row.get("price_increment")),
        )
    except UNREADABLE as error:
        raise malformed(error, "an asset", row) from None


def _decimal_text(value: object) -> str | None:
    """An increment as a plain decimal string: venues write 1e-09 too."""
    number = _decimal_or_none(value)
    return None if number is None else f"{number:f}"


# ---------------------------------------------------------------------- market data


def bar(row: Json, symbol: str, period: int) -> Bar:
    """One bar. Alpaca's ``t`` is the bar's start; ours is its end, when it was first known.

    Raises:
        MalformedMessageError: A price or the time cannot be read, or the prices cannot be those of a bar.
    """
    try:
        o, h, low, c, v = float(row["o"]), float(row["h"]), float(row["l"]), float(row["c"]), float(row["v"])
        # NaN fails every comparison, so this refuses it too.
        if not (0.0 < low <= h < inf and 0.0 < o < inf and 0.0 < c < inf and 0.0 <= v < inf):
            message = f"open {o}, high {h}, low {low}, close {c}, volume {v} cannot be a bar's"
            raise ValueError(message)
        return Bar(parse_rfc3339(row["t"]) + period, symbol, o, h, low, c, v)
    except UNREADABLE as error:
        raise malformed(error, f"a bar of {symbol}", row) from None


def quote(row: Json, symbol: str) -> Quote:
    """The best bid and ask.

    Raises:
        MalformedMessageError: A price or the time cannot be read.
    """
    try:
        return Quote(
            ts=parse_rfc3339(row["t"]),
            symbol=symbol,
            bid=float(row["bp"]),
            ask=float(row["ap"]),
            bid_size=float(row.get("bs") or 0.0),
            ask_size=float(row.get("as") or 0.0),
        )
    except UNREADABLE as error:
        raise malformed(error, f"a quote of {symbol}", row) from None


def timeframe(period: int) -> str:
    """Alpaca's word for a bar length in ns: 1-59 minutes, 1-23 hours, or one day.

    Raises:
        DataError: Alpaca has no such bars.
    """
    for unit, word, most in ((NS_PER_DAY, "Day", 1), (NS_PER_HOUR, "Hour", 23), (NS_PER_MINUTE, "Min", 59)):
        count, rest = divmod(period, unit)
        if rest == 0 and 1 <= count <= most:
            return f"{count}{word}"
    message = f"Alpaca has no bars of {period} ns; expected 1-59 minutes, 1-23 hours or one day"
    raise DataError(message)
