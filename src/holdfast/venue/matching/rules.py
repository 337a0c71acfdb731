"""Every "no" that concerns an order: its HTTP status, its code and its text, in one table.

The texts are the ones that Alpaca is known to give, since clients decide on status, code and text: the codes are
coarse. ``ours`` marks the rows whose rule is documented and whose text is not, and the few rules that are the venue's
own; their texts are made after the recorded ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from holdfast.venue.matching.orders import FORBIDDEN, INVALID, NOT_FOUND, UNPROCESSABLE, Refusal


class Rule(Enum):
    """One row each: HTTP status, code, text. Words in braces are filled in."""

    # fmt: off
    # -- 422: the request itself is malformed ------------------------------------------------------------------
    CLIENT_ORDER_ID_TAKEN = (422, INVALID, "client_order_id must be unique")
    CLIENT_ORDER_ID_TOO_LONG = (422, INVALID, "client_order_id must be no more than 128 characters")
    ORDER_ID_MISSING = (422, INVALID, "order_id is missing")
    QTY_NOT_POSITIVE = (422, INVALID, "qty must be > 0")
    LIMIT_NOT_POSITIVE = (422, INVALID, "limit price must be > 0")
    LIMIT_MISSING = (422, INVALID, "limit orders require a limit price")
    STOP_MISSING = (422, INVALID, "stop orders require a stop price")
    STOP_LIMIT_INCOMPLETE = (422, INVALID, "stop limit orders require both stop and limit price")
    MARKET_WITH_PRICE = (422, INVALID, "market orders require no stop or limit price")
    TRAIL_NOT_ONE = (422, INVALID, "trailing stop orders must specify one of trail_price or trail_percent")
    QTY_MISSING = (422, INVALID, "qty or notional is required")
    QTY_AND_NOTIONAL = (422, INVALID, "only one of qty or notional is accepted")
    NOTIONAL_TOO_SMALL = (422, INVALID, "notional must be >= 1.00")
    TAKE_PROFIT_MISSING = (422, INVALID, "{order_class} orders require take_profit.limit_price")
    WORD_UNKNOWN = (422, INVALID, "invalid {word}")
    CRYPTO_TYPE = (422, INVALID, "invalid order type for crypto order")
    CRYPTO_NOT_ENABLED = (422, INVALID, "crypto orders not allowed for account")
    # ours:
    STOP_LOSS_MISSING = (422, INVALID, "{order_class} orders require stop_loss.stop_price")
    OTO_NOT_ONE = (422, INVALID, "oto orders require either take_profit or stop_loss")
    OCO_NOT_LIMIT = (422, INVALID, "oco orders must be limit orders")
    COMPLEX_TYPE = (422, INVALID, "{order_class} orders must be market or limit orders")
    COMPLEX_TIME_IN_FORCE = (422, INVALID, "{order_class} orders must be DAY or GTC orders")
    EXITS_UNASKED = (422, INVALID, "take_profit and stop_loss require a bracket, oco or oto order")
    STOP_UNASKED = (422, INVALID, "{order_type} orders require no stop price")
    LIMIT_UNASKED = (422, INVALID, "{order_type} orders require no limit price")
    TRAIL_UNASKED = (422, INVALID, "trail_price and trail_percent require a trailing stop order")
    PRICE_NOT_POSITIVE = (422, INVALID, "{name} must be > 0")
    TRAIL_PERCENT_TOO_LARGE = (422, INVALID, "trail_percent must be < 100")
    NOTIONAL_DECIMALS = (422, INVALID, "notional must have no more than 2 decimals")
    TOO_LARGE = (422, INVALID, "{name} is too large")  # it keeps the arithmetic exact
    AUCTION_TYPE = (422, INVALID, "{time_in_force} orders must be market or limit orders")

    # -- 422: well formed, and cannot be carried out -----------------------------------------------------------
    SUB_PENNY = (422, UNPROCESSABLE,
                 "invalid {name} {price}. sub-penny increment does not fulfill minimum pricing criteria")
    FRACTIONAL_NOT_DAY = (422, UNPROCESSABLE, "fractional orders must be DAY orders")
    FRACTIONAL_NOT_SIMPLE = (422, UNPROCESSABLE, "fractional orders must be simple orders")
    FRACTIONAL_SHORT = (422, UNPROCESSABLE, "fractional orders cannot be sold short")
    EXTENDED_HOURS = (422, UNPROCESSABLE, "extended hours order must be DAY or GTC limit orders")
    CLOSED_ALREADY = (422, UNPROCESSABLE, 'order is already in "{status}" state')
    NOT_REPLACEABLE = (422, UNPROCESSABLE, "unable to replace order, order is not open")
    ASSET_UNKNOWN = (422, UNPROCESSABLE, 'asset "{symbol}" not found')
    NOT_TRADABLE = (422, UNPROCESSABLE, 'asset "{symbol}" is not tradable')
    NOT_SHORTABLE = (422, UNPROCESSABLE, 'asset "{symbol}" cannot be sold short')
    STOP_NOT_BELOW = (422, UNPROCESSABLE, "stop price must be less than current price")
    EXITS_CROSSED = (422, UNPROCESSABLE, "take_profit.limit_price must be > stop_loss.stop_price")
    CRYPTO_TIME_IN_FORCE = (422, UNPROCESSABLE, "invalid crypto time_in_force")
    # ours:
    STOP_NOT_ABOVE = (422, UNPROCESSABLE, "stop price must be greater than current price")
    EXITS_CROSSED_SHORT = (422, UNPROCESSABLE, "take_profit.limit_price must be < stop_loss.stop_price")
    STOP_LOSS_NOT_BELOW = (422, UNPROCESSABLE, "stop_loss.stop_price must be <= base_price - 0.01")
    STOP_LOSS_NOT_ABOVE = (422, UNPROCESSABLE, "stop_loss.stop_price must be >= base_price + 0.01")
    QTY_INCREMENT = (422, UNPROCESSABLE, "invalid qty {qty}. it must be a multiple of {lot}")
    FRACTIONAL_TYPE = (422, UNPROCESSABLE, "fractional orders cannot be trailing stop orders")
    EXTENDED_HOURS_NOT_SIMPLE = (422, UNPROCESSABLE, "extended hours orders must be simple orders")
    CRYPTO_NOT_SIMPLE = (422, UNPROCESSABLE, "crypto orders must be simple orders")
    REPLACE_FRACTIONAL = (422, UNPROCESSABLE, "qty of a fractional order cannot be replaced")
    REPLACE_NOTIONAL = (422, UNPROCESSABLE, "notional orders cannot be replaced")
    REPLACE_LEG_QTY = (422, UNPROCESSABLE, "qty of a leg cannot be replaced")
    REPLACE_OTO_LEG = (422, UNPROCESSABLE, "legs of oto orders cannot be replaced")

    # -- 403: the account or its state forbids it --------------------------------------------------------------
    BUYING_POWER = (403, FORBIDDEN, "insufficient buying power")
    QTY_UNAVAILABLE = (403, FORBIDDEN,
                       "insufficient qty available for order (requested: {requested}, available: {available})")
    BALANCE_TOO_SMALL = (403, FORBIDDEN,
                         "insufficient balance for {coin} (requested: {requested}, available: {available})")
    WASH_TRADE = (403, FORBIDDEN, "potential wash trade detected. use complex orders")
    SHORT_BESIDE_LONG = (403, FORBIDDEN, "cannot open a short sell while a long buy order is open")
    LONG_BESIDE_SHORT = (403, FORBIDDEN, "cannot open a long buy while a short sell order is open")
    NO_SHORTS = (403, FORBIDDEN, "account is not allowed to short")
    NO_TRADING = (403, FORBIDDEN, "account is not authorized to trade")
    CLOSING_ONLY = (403, FORBIDDEN, "account is restricted to liquidation only")
    NOT_FRACTIONABLE = (403, FORBIDDEN, 'asset "{symbol}" is not fractionable')
    NO_FRACTIONS = (403, FORBIDDEN, "fractional trading is disabled for this account")
    OPG_WINDOW = (403, FORBIDDEN, "opg orders must be submitted after 7:00pm and before 9:28am")
    CLS_WINDOW = (403, FORBIDDEN, "cls orders must be submitted after 7:00pm and before 3:55pm")  # and ends at 3:50
    NOT_CHANGED = (403, FORBIDDEN, "order parameters are not changed")
    COST_TOO_SMALL = (403, FORBIDDEN, "cost basis must be >= minimal amount of order {cost}")
    # ours:
    COST_TOO_LARGE = (403, FORBIDDEN, "cost basis must be <= maximal amount of order {cost}")
    NO_PRICE = (403, FORBIDDEN, "no trade in {symbol} yet: the order cannot be valued")

    # -- 404 ---------------------------------------------------------------------------------------------------
    ORDER_UNKNOWN = (404, NOT_FOUND, "order not found for {id}")
    POSITION_UNKNOWN = (404, NOT_FOUND, "position does not exist")
    # fmt: on

    @property
    def status(self) -> int:
        """Of the HTTP answer."""
        return self.value[0]

    @property
    def code(self) -> int:
        """Alpaca's code."""
        return self.value[1]

    @property
    def text(self) -> str:
        """Alpaca's text, with braces where words are filled in."""
        return self.value[2]

    def refusal(self, extras: Mapping[str, Any] | None = None, **words: object) -> Refusal:
        """The answer, with its words filled in and its further members."""
        return Refusal(self.status, self.code, self.text.format(**words) if words else self.text, extras)
