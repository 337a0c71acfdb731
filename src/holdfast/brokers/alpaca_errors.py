"""What an answer, or the lack of one, means: one table for HTTP answers, one for failures of the transport.

The question is never "what went wrong?" but "was it carried out?". A time-out is no verdict; neither
is a gateway's error page. A definite "no" is only what Alpaca itself says in its own words,
``{"code": ..., "message": ...}``, and to a submit only where ``REFUSALS`` lists its status and code: an error that nobody
has studied maps to unknown, never to success and never to a rejection. The codes are coarse (one serves a duplicate
id and a bad quantity), so the text decides first where it has to, and says which kind of "no" it is.

    refused   BrokerRefusedError    it was not carried out; its kinds say what to do about it (see ``holdfast.model.errors``)
    auth      BrokerAuthError       it was not carried out: our keys
    unknown   OutcomeUnknownError   no verdict: look it up

Each row also names the ``Outcome``, by which ``holdfast.kernel.unknown_table`` decides what follows.
The first row that matches decides. For reads "unknown" means that nothing was learned; they alone may be
tried again, POST, PATCH and DELETE are never sent a second time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import httpx
import msgspec

from holdfast.model.enums import Outcome
from holdfast.model.errors import (
    BrokerAuthError,
    BrokerError,
    BrokerRefusedError,
    InsufficientFundsError,
    InvalidRequestError,
    NotFoundError,
    NotPermittedError,
    OrderNotOpenError,
    OutcomeUnknownError,
    RateLimitedError,
    WashTradeError,
)


class Answer(NamedTuple):
    """What Alpaca said beside its status: empty where the body is not Alpaca's."""

    code: int | None
    text: str
    is_alpaca: bool


class Rule(NamedTuple):
    """One row: where method, status and text match, this is the verdict.

    Attributes:
        methods: The HTTP methods it speaks of; ``CLOSE`` is a DELETE that makes an order (of a position).
        statuses: The HTTP statuses it speaks of.
        text: A pattern in Alpaca's own words; None where it does not matter who answered.
        error: The verdict.
        outcome: The same, as the decision table of unknown outcomes asks.
        sentence: What to tell the operator; Alpaca's own words follow it.
        code: Alpaca's own code; None where it does not matter.
    """

    methods: frozenset[str]
    statuses: range
    text: re.Pattern[str] | None
    error: type[BrokerError]
    outcome: Outcome
    sentence: str
    code: int | None = None


def _from(first: int, last: int) -> range:
    return range(first, last + 1)


CLOSE = "CLOSE"
METHODS = ("GET", "POST", "PATCH", "DELETE", CLOSE)

_ANY = frozenset(METHODS)
_GET = frozenset({"GET"})
# A replace is a submit of the new order, and so is the closing of a position: the same answers mean the same.
_POST = frozenset({"POST", "PATCH", CLOSE})
_ASKING = _POST | _GET
ORDERING = _POST
_PATCH = frozenset({"PATCH"})
_DEL = frozenset({"DELETE"})

_ANY_WORDS = re.compile("")
_FORBIDDEN = re.compile(r"^forbidden\b", re.IGNORECASE)
_NOT_OPEN = re.compile("order is not open", re.IGNORECASE)
_ARRIVED = re.compile("client_order_id must be unique", re.IGNORECASE)

KEYS_REFUSED = (
    "the venue refused our API keys: check APCA_API_KEY_ID and APCA_API_SECRET_KEY (paper and live keys differ)"
)

# Which 4xx answers to a submit are trustworthy: those of the checks that come before an order is made. Reports exist
# of an error answer although the order was placed, so even these are reopened by the venue's own word on the order.
REFUSALS: Mapping[tuple[int, int], str] = {
    (400, 40010000): "the request cannot be read: nothing was made of it",
    (
        403,
        40310000,
    ): "the account may not: buying power, quantity held, wash trade, shorting, restrictions, minimum cost",
    (403, 40310100): "pattern day trading protection, where it still applies",
    (404, 40410000): "there is no such asset or endpoint",
    (413, 41310000): "the request is too large: it was not read",
    (422, 40010001): "a field is missing or wrong (the text about a duplicate id is asked for first)",
    (422, 42210000): "well formed, and not possible: price increment, time in force, asset, session",
}


class Kind(NamedTuple):
    """Which kind of "no" a status, a code and a text are. The first that matches; each listed code ends with any text."""

    status: int
    code: int
    text: re.Pattern[str]
    error: type[BrokerRefusedError]


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


# fmt: off
KINDS: tuple[Kind, ...] = (
    Kind(400, 40010000, _ANY_WORDS,                                                        InvalidRequestError),
    Kind(403, 40310000, _words("insufficient (buying power|qty|balance)"),                 InsufficientFundsError),
    Kind(403, 40310000, _words("wash trade"),                                              WashTradeError),
    Kind(403, 40310000, _words("cost basis must be", "not changed", "is not fractionable"), InvalidRequestError),
    Kind(403, 40310000, _ANY_WORDS,                                                        NotPermittedError),
    Kind(403, 40310100, _ANY_WORDS,                                                        NotPermittedError),
    Kind(404, 40410000, _ANY_WORDS,                                                        NotFoundError),
    Kind(413, 41310000, _ANY_WORDS,                                                        InvalidRequestError),
    Kind(422, 40010001, _words("not allowed for account"),                                 NotPermittedError),
    Kind(422, 40010001, _ANY_WORDS,                                                        InvalidRequestError),
    Kind(422, 42210000, _words(r"already in \W*\w+\W* state", "is not open"),              OrderNotOpenError),
    Kind(422, 42210000, _words('asset ".*" not found'),                                    NotFoundError),
    Kind(422, 42210000, _words("is not tradable", "cannot be sold short"),                 NotPermittedError),
    Kind(422, 42210000, _ANY_WORDS,                                                        InvalidRequestError),
)
# Of a cancel. One that is understood and not possible is one of an order that is closed.
_CANCEL_KINDS = (
    Kind(422, 40010001, _ANY_WORDS,                                                        InvalidRequestError),
    Kind(422, 42210000, _ANY_WORDS,                                                        OrderNotOpenError),
)
# What only the market-data API says, which makes no orders.
_DATA_KINDS = (Kind(403, 42210000, _words("subscription does not permit"), NotPermittedError),)
# fmt: on

_R, _A, _U = BrokerRefusedError, BrokerAuthError, OutcomeUnknownError
_L, _N = RateLimitedError, NotFoundError
_O = Outcome


def _refusals(methods: frozenset[str], kinds: tuple[Kind, ...], sentence: str = "the venue refused") -> list[Rule]:
    return [
        Rule(methods, _from(kind.status, kind.status), kind.text, kind.error, _O.REFUSED, sentence, kind.code)
        for kind in kinds
    ]


# fmt: off
HTTP_RULES: tuple[Rule, ...] = (
    Rule(_ANY,  _from(401, 401), None,       _A, _O.REFUSED,        KEYS_REFUSED),
    Rule(_ANY,  _from(403, 403), _FORBIDDEN, _A, _O.REFUSED,        KEYS_REFUSED),
    # A duplicate id says that the FIRST request arrived. It is the opposite of a rejection.
    Rule(_POST, _from(400, 499), _ARRIVED,   _U, _O.ID_TAKEN,       "it arrived before, for its id is taken: look it up"),
    # The old order may be filled; or it was replaced, by a first copy of this very request.
    Rule(_PATCH, _from(400, 499), _NOT_OPEN, _U, _O.UNLISTED,       "the order to be replaced is not open: look up both"),
    Rule(_ANY,  _from(408, 408), None,       _U, _O.SERVER_ERROR,   "the venue timed out"),
    # A cancel is refused only where Alpaca says that there is nothing to cancel. Everything else is looked up, also
    # "too many requests": a cancel that did not happen must be asked for again.
    Rule(_DEL,  _from(404, 404), _ANY_WORDS, _N, _O.NOT_FOUND,      "the venue refused the cancel"),
    *_refusals(_DEL, _CANCEL_KINDS, "the venue refused the cancel"),
    Rule(_DEL,  _from(422, 422), _ANY_WORDS, _R, _O.REFUSED,        "the venue refused the cancel"),
    Rule(_DEL,  _from(429, 429), None,       _U, _O.RATE_LIMITED,   "the venue's rate limit was exceeded"),
    Rule(_DEL,  _from(400, 499), _ANY_WORDS, _U, _O.UNLISTED,       "the venue gave no verdict on the cancel"),
    # Too many requests is documented as "not executed", with or without a body.
    Rule(_ANY,  _from(429, 429), None,       _L, _O.RATE_LIMITED,   "the venue's rate limit was exceeded"),
    *_refusals(_ASKING, KINDS),
    *_refusals(_GET, _DATA_KINDS),
    Rule(_POST, _from(400, 499), _ANY_WORDS, _U, _O.UNLISTED,       "the venue gave an error that is no known refusal"),
    Rule(_GET,  _from(400, 499), _ANY_WORDS, _R, _O.REFUSED,        "the venue refused"),
    # Whoever wrote this, it was not Alpaca's API: a proxy, a firewall, a wrong address.
    Rule(_ANY,  _from(400, 499), None,       _U, _O.FOREIGN_ANSWER, "the answer is not Alpaca's (a proxy? a wrong URL?)"),
    Rule(_ANY,  _from(500, 599), None,       _U, _O.SERVER_ERROR,   "the venue failed"),
    # A redirect, or a status that no one has heard of: not followed, not understood.
    Rule(_ANY,  range(1000),     None,       _U, _O.FOREIGN_ANSWER, "the venue's answer is not understood"),
)
# fmt: on

# The answers after which a read may be tried again: they say "later", not "no".
RETRIED_STATUSES = frozenset({408, 429, *range(500, 600)})


class Failure(NamedTuple):
    """What a failure of the transport means: whether anything left this process, and whether a read may try again."""

    was_sent: bool
    retry: bool
    outcome: Outcome
    sentence: str


_NOT_SENT = Failure(
    was_sent=False, retry=True, outcome=_O.NOT_SENT, sentence="the venue could not be reached, nothing was sent"
)
_NEVER_TO_BE_SENT = Failure(
    was_sent=False, retry=False, outcome=_O.NOT_SENT, sentence="the request could not be made, nothing was sent"
)
_NO_ANSWER = Failure(was_sent=True, retry=True, outcome=_O.NO_ANSWER, sentence="the venue gave no answer")
_CUT = Failure(was_sent=True, retry=True, outcome=_O.CUT, sentence="the connection ended before an answer")
_NO_SENSE = Failure(was_sent=True, retry=False, outcome=_O.MALFORMED, sentence="the venue's answer cannot be read")

# The most specific class in an exception's ancestry decides. Only what happens before the first byte of the
# request leaves (no connection from the pool, no TCP, no TLS) is known not to have been sent.
TRANSPORT_RULES: dict[type[BaseException], Failure] = {
    httpx.ConnectError: _NOT_SENT,
    httpx.ConnectTimeout: _NOT_SENT,
    httpx.PoolTimeout: _NOT_SENT,
    httpx.UnsupportedProtocol: _NEVER_TO_BE_SENT,
    httpx.InvalidURL: _NEVER_TO_BE_SENT,
    httpx.ReadTimeout: _NO_ANSWER,
    httpx.WriteTimeout: _NO_ANSWER,
    httpx.ReadError: _CUT,
    httpx.WriteError: _CUT,
    httpx.CloseError: _CUT,
    httpx.RemoteProtocolError: _CUT,
    httpx.LocalProtocolError: _NO_ANSWER,
    httpx.ProxyError: _NO_ANSWER,
    httpx.TimeoutException: _NO_ANSWER,
    httpx.NetworkError: _CUT,
    httpx.ProtocolError: _NO_ANSWER,
    httpx.TransportError: _NO_ANSWER,
    httpx.DecodingError: _NO_SENSE,
    httpx.TooManyRedirects: _NO_SENSE,
    httpx.RequestError: _NO_ANSWER,
    httpx.HTTPStatusError: _NO_SENSE,
    httpx.HTTPError: _NO_ANSWER,
    httpx.CookieConflict: _NO_SENSE,
    httpx.StreamConsumed: _NO_SENSE,
    httpx.StreamClosed: _NO_SENSE,
    httpx.ResponseNotRead: _NO_SENSE,
    httpx.RequestNotRead: _NO_SENSE,
    httpx.StreamError: _NO_SENSE,
    TimeoutError: _NO_ANSWER,  # our own limit on the whole exchange
    OSError: _CUT,  # a socket's or TLS's own error that the HTTP library let through
}


def failure_of(error: BaseException) -> Failure | None:
    """The row for an exception of the transport; None where it is none of these."""
    for kind in type(error).__mro__:
        if kind in TRANSPORT_RULES:
            return TRANSPORT_RULES[kind]
    return None


def rule_for(method: str, status: int, answer: Answer) -> Rule:
    """The first row that matches."""
    for rule in HTTP_RULES:
        if (
            method in rule.methods
            and status in rule.statuses
            and (rule.text is None or (answer.is_alpaca and rule.text.search(answer.text)))
            and rule.code in (None, answer.code)
        ):
            return rule
    return HTTP_RULES[-1]


def read_answer(body: bytes) -> Answer:
    """Alpaca's code and message in an error body, whatever else the body may be."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Answer(None, "", is_alpaca=False)
    if not isinstance(decoded, dict) or not isinstance(decoded.get("message"), str):
        return Answer(None, "", is_alpaca=False)
    code, text = decoded.get("code"), decoded["message"]
    details = ", ".join(f"{key} {value}" for key, value in decoded.items() if key not in ("code", "message"))
    return Answer(code if isinstance(code, int) else None, f"{text} ({details})" if details else text, is_alpaca=True)


def is_missing(error: BrokerError) -> bool:
    """Whether Alpaca itself says that it has no such thing.

    A 404 of a proxy, or of a path that Alpaca does not serve, says nothing of the order.
    """
    return error.status == 404 and error.code == 40410000 and "endpoint not found" not in error.message.lower()
