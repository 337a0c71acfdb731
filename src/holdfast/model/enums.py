"""The closed vocabularies. Values are the words of Alpaca's API, so that wire and journal read alike."""

from __future__ import annotations

from enum import StrEnum


class AssetClass(StrEnum):
    """What kind of instrument a symbol is."""

    US_EQUITY = "us_equity"
    CRYPTO = "crypto"


class OrderSide(StrEnum):
    """Which way an order trades.

    Attributes:
        sign: +1 for a buy, -1 for a sell.
        opposite: The other side.
    """

    sign: int
    opposite: OrderSide

    BUY = "buy"
    SELL = "sell"


# Attributes of the two, and no properties: they are asked on every order's path.
OrderSide.BUY.sign, OrderSide.SELL.sign = 1, -1
OrderSide.BUY.opposite, OrderSide.SELL.opposite = OrderSide.SELL, OrderSide.BUY


class OrderType(StrEnum):
    """How an order is priced."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"
    TRAILING_STOP = "trailing_stop"


class TimeInForce(StrEnum):
    """How long an order may rest."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    OPG = "opg"  # at the opening auction only
    CLS = "cls"  # at the closing auction only


class OrderClass(StrEnum):
    """Whether an order comes alone or with others that depend on it."""

    SIMPLE = "simple"
    BRACKET = "bracket"  # an entry, and a take-profit and a stop-loss that cancel each other
    OCO = "oco"  # the two exits alone
    OTO = "oto"  # an entry and one exit


class OrderStatus(StrEnum):
    """Where an order is in its life. The legal moves are the tables of ``holdfast.state.order_machine``."""

    # Ours, before the venue has said anything.
    CREATED = "created"  # the intent exists; nothing has left this process
    SUBMITTED = "submitted"  # the request was released to the wire
    UNKNOWN = "unknown"  # the request may or may not have arrived: only evidence settles it
    NEVER_SENT = "never_sent"  # closed: the venue does not have it, and here is why we are sure

    # The venue's, open.
    ACCEPTED = "accepted"
    ACCEPTED_FOR_BIDDING = "accepted_for_bidding"
    PENDING_NEW = "pending_new"
    PENDING_REVIEW = "pending_review"
    NEW = "new"
    HELD = "held"
    PARTIALLY_FILLED = "partially_filled"
    DONE_FOR_DAY = "done_for_day"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    STOPPED = "stopped"
    SUSPENDED = "suspended"
    CALCULATED = "calculated"

    # The venue's, closed.
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    REPLACED = "replaced"


class TradingState(StrEnum):
    """What the bot may do at all."""

    ACTIVE = "active"  # anything that the guards allow
    REDUCING = "reducing"  # only orders that reduce a position
    HALTED = "halted"  # no orders; cancels are still allowed


class GuardMode(StrEnum):
    """How much a guard's word counts."""

    OFF = "off"  # not asked
    OBSERVE = "observe"  # asked, and recorded, but never blocks
    ENFORCE = "enforce"  # blocks


class Stage(StrEnum):
    """Where on the signal path a verdict was given, in the order of the path."""

    PROTECTIONS = "protections"
    RISK = "risk"
    SYMBOL = "symbol"
    POSITION = "position"  # a reducing order had nothing (left) to reduce
    ACCEPTED = "accepted"  # every guard agreed: there is an order
    DEFERRED = "deferred"  # an exit waits for the venue's word on what still rests


class Source(StrEnum):
    """Who told us."""

    RESPONSE = "response"  # the answer to our own request
    STREAM = "stream"  # the trade_updates socket
    LOOKUP = "lookup"  # a look-up by client order id
    RECONCILE = "reconcile"  # the periodic comparison with the venue


class Outcome(StrEnum):
    """How a request to the venue ended, as the decision table of ``holdfast.kernel.unknown_table`` asks."""

    NOT_SENT = "not_sent"  # our own process says that nothing left it: no connection, too late, trading halted
    NO_ANSWER = "no_answer"  # a time-out after bytes may have left
    CUT = "cut"  # the connection ended before an answer
    SERVER_ERROR = "server_error"  # 408, 5xx: also a gateway's 504 after the venue accepted
    RATE_LIMITED = "rate_limited"  # 429, with or without its headers
    FOREIGN_ANSWER = "foreign_answer"  # a page that the venue's API did not write: a proxy's HTML
    MALFORMED = "malformed"  # success, in words that cannot be read or that speak of another order
    UNLISTED = "unlisted"  # an error in the venue's own words that is not among the definite refusals
    ID_TAKEN = "id_taken"  # "client_order_id must be unique"
    REFUSED = "refused"  # a definite "no", listed as one
    NOT_FOUND = "not_found"  # the venue itself says that it has no such thing
    FOUND = "found"  # a look-up showed the order that we meant
    DIFFERS = "differs"  # a look-up showed another order under our id
    SILENT = "silent"  # the request was taken, and the venue's word on the order does not come
    RESTARTED = "restarted"  # the process that waited for the answer is gone


class Foreign(StrEnum):
    """How to treat orders and positions at the venue that are not ours."""

    ALERT = "alert"  # people are told; never touched, never counted as ours
    IGNORE = "ignore"  # part of the baseline, and not reported
    ADOPT = "adopt"  # taken into our books as labelled adjustments, so that exits and guards count them


class ActivityKind(StrEnum):
    """What an account activity that is no fill changes."""

    FEE = "fee"  # charged later than the trade that it belongs to
    INCOME = "income"  # dividends, interest: profit or loss
    TRANSFER = "transfer"  # money or shares that came or went: no profit
    SPLIT = "split"  # more or fewer shares at the same cost
    SHARES = "shares"  # another corporate action that changed a position
    BUST = "bust"  # the venue took an execution back
    CORRECTION = "correction"  # the venue changed the quantity or the price of an execution
