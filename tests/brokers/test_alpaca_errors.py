"""The tables that say what an answer means."""

from __future__ import annotations

import inspect

import httpx
import pytest

from holdfast.brokers import alpaca_errors
from holdfast.brokers.alpaca_errors import (
    CLOSE,
    HTTP_RULES,
    KINDS,
    METHODS,
    REFUSALS,
    TRANSPORT_RULES,
    Answer,
    failure_of,
    is_missing,
    read_answer,
    rule_for,
)
from holdfast.model import Outcome
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

HTML = b"<html><body>502 Bad Gateway</body></html>"


def said(code: int | None, message: str) -> bytes:
    """An error body of Alpaca."""
    head = "" if code is None else f'"code":{code},'
    return f'{{{head}"message":"{message}"}}'.encode()


R, A, U = BrokerRefusedError, BrokerAuthError, OutcomeUnknownError

# What Alpaca is known to answer, and what it means for a read, a submit and a cancel.
CASES: list[tuple[int, bytes, type[BrokerError], type[BrokerError], type[BrokerError]]] = [
    (401, said(None, "unauthorized."), A, A, A),
    (401, HTML, A, A, A),
    (401, b"", A, A, A),
    (401, said(40110000, "access key verification failed : verification failure"), A, A, A),
    (403, said(None, "forbidden."), A, A, A),
    (403, HTML, U, U, U),
    (403, said(40310000, "insufficient buying power"), R, R, U),
    (403, said(40310000, "insufficient qty available for order (requested: 2, available: 0)"), R, R, U),
    (403, said(40310000, "potential wash trade detected. use complex orders"), R, R, U),
    (403, said(40310000, "account is not authorized to trade"), R, R, U),
    (403, said(40310100, "trade denied due to pattern day trading protection"), R, R, U),
    (403, said(42210000, "subscription does not permit querying recent SIP data"), R, U, U),
    (404, said(40410000, "order not found for 1"), R, R, R),
    (404, said(40410000, "endpoint not found"), R, R, R),
    (404, said(None, "not found"), R, U, R),
    (404, HTML, U, U, U),
    (408, b"", U, U, U),
    (408, said(None, "timeout"), U, U, U),
    (409, said(40010001, "client_order_id must be unique"), R, U, U),
    (422, said(40010001, "client_order_id must be unique"), R, U, R),
    (422, said(40010001, "client_order_id must be no more than 128 characters"), R, R, R),
    (422, said(40010001, "qty must be > 0"), R, R, R),
    (422, said(42210000, "order is already in filled state"), R, R, R),
    (422, said(42210000, "sub-penny increment does not fulfill minimum pricing criteria"), R, R, R),
    (429, b"", R, R, U),
    (429, said(42910000, "too many requests"), R, R, U),
    (429, HTML, R, R, U),
    (400, said(40010000, "request body format is invalid"), R, R, U),
    # An error that nobody has studied is no refusal of a submit, whatever it says.
    (400, said(None, "order rejected"), R, U, U),
    (400, said(40099999, "order rejected"), R, U, U),
    (403, said(40399999, "no"), R, U, U),
    (403, said(None, "no"), R, U, U),
    (409, said(40910000, "conflict"), R, U, U),
    (418, said(41810000, "teapot"), R, U, U),
    (422, said(42299999, "new rule"), R, U, R),
    (422, said(None, "no"), R, U, R),
    (400, b'{"detail":"no"}', U, U, U),
    (400, b"[]", U, U, U),
    *((status, body, U, U, U) for status in (500, 502, 503, 504) for body in (HTML, b"", said(50010000, "internal"))),
    (301, b"", U, U, U),
    (101, b"", U, U, U),
    (999, b"", U, U, U),
]


def class_of(verdict: type[BrokerError]) -> type[BrokerError]:
    """Refused, our keys, or unknown, whatever the kind of the refusal."""
    return next(kind for kind in (A, R, U) if issubclass(verdict, kind))


@pytest.mark.parametrize(("status", "body", "read", "submit", "cancel"), CASES)
def test_every_known_answer_has_its_verdict(
    status: int, body: bytes, read: type[BrokerError], submit: type[BrokerError], cancel: type[BrokerError]
) -> None:
    """For each of the three kinds of request."""
    verdicts = [rule_for(method, status, read_answer(body)).error for method in ("GET", "POST", "DELETE")]

    assert [class_of(verdict) for verdict in verdicts] == [read, submit, cancel]
    for method in ("PATCH", CLOSE):
        same = class_of(rule_for(method, status, read_answer(body)).error)
        assert same is submit, "a replace is a submit of the new order, and so is the closing of a position"


@pytest.mark.parametrize("method", METHODS)
def test_every_status_has_a_verdict_with_and_without_words(method: str) -> None:
    """No answer falls through the table, and none but the known ones is a definite no without Alpaca's words."""
    for status in range(1000):
        silent = rule_for(method, status, Answer(None, "", is_alpaca=False))
        spoken = rule_for(method, status, Answer(1, "no", is_alpaca=True))

        assert issubclass(spoken.error, BrokerError)
        assert not issubclass(silent.error, BrokerRefusedError) or status in (401, 429)


def test_every_row_can_be_reached() -> None:
    """Canary: a row that a row above it hides would be a verdict that nobody ever gets."""
    words = ["", "forbidden.", "client_order_id must be unique", "order is not open", "other"]
    words += [text for _, _, text, _ in KNOWN]
    codes = [None, *(code for _, code in REFUSALS)]
    answers = [Answer(code, text, is_alpaca=known) for text in words for known in (True, False) for code in codes]
    reached = {rule_for(m, s, a) for m in METHODS for s in STATUSES for a in answers}

    assert reached == set(HTTP_RULES)


FUNDS, WASH, MAY_NOT = InsufficientFundsError, WashTradeError, NotPermittedError
INVALID, MISSING, CLOSED = InvalidRequestError, NotFoundError, OrderNotOpenError

# Everything that Alpaca has been recorded to say, in its own words, and which kind of "no" it is to whoever sent an order.
KNOWN: list[tuple[int, int | None, str, type[BrokerError]]] = [
    (401, None, "unauthorized.", A),
    (401, 40110000, "access key verification failed : verification failure", A),
    (403, None, "forbidden.", A),
    (403, 40310000, "insufficient buying power", FUNDS),
    (403, 40310000, "insufficient qty available for order (requested: 2, available: 0)", FUNDS),
    (403, 40310000, "insufficient balance for BTC (requested: 0.0002, available: 0.000199499)", FUNDS),
    (403, 40310000, "potential wash trade detected. use complex orders", WASH),
    (403, 40310000, "cannot open a short sell while a long buy order is open", MAY_NOT),
    (403, 40310000, "cannot open a long buy while a short sell order is open", MAY_NOT),
    (403, 40310000, "account is not allowed to short", MAY_NOT),
    (403, 40310000, "account is not authorized to trade", MAY_NOT),
    (403, 40310000, "account is restricted to liquidation only", MAY_NOT),
    (403, 40310000, 'asset "X" is not fractionable', INVALID),
    (403, 40310000, "fractional trading is disabled for this account", MAY_NOT),
    (403, 40310000, "opg orders must be submitted after 7:00pm and before 9:28am", MAY_NOT),
    (403, 40310000, "order parameters are not changed", INVALID),
    (403, 40310000, "cost basis must be >= minimal amount of order 1", INVALID),
    (403, 40310000, "cost basis must be >= minimal amount of order 10", INVALID),
    (403, 40310100, "trade denied due to pattern day trading protection", MAY_NOT),
    (404, 40410000, "order not found for 1", MISSING),
    (404, 40410000, "position does not exist", MISSING),
    (404, 40410000, "asset not found for X", MISSING),
    (404, 40410000, "symbol not found: X", MISSING),
    (404, 40410000, "endpoint not found", MISSING),
    (422, 40010001, "client_order_id must be unique", U),
    (422, 40010001, "client_order_id must be no more than 128 characters", INVALID),
    (422, 40010001, "order_id is missing", INVALID),
    (422, 40010001, "qty must be > 0", INVALID),
    (422, 40010001, "limit price must be > 0", INVALID),
    (422, 40010001, "limit orders require a limit price", INVALID),
    (422, 40010001, "stop orders require a stop price", INVALID),
    (422, 40010001, "stop limit orders require both stop and limit price", INVALID),
    (422, 40010001, "market orders require no stop or limit price", INVALID),
    (422, 40010001, "qty or notional is required", INVALID),
    (422, 40010001, "bracket orders require take_profit.limit_price", INVALID),
    (422, 40010001, "only one of qty or notional is accepted", INVALID),
    (422, 40010001, "invalid side", INVALID),
    (422, 40010001, "invalid order type", INVALID),
    (422, 40010001, "invalid time_in_force", INVALID),
    (422, 40010001, "trailing stop orders must specify one of trail_price or trail_percent", INVALID),
    (422, 40010001, "notional must be >= 1.00", INVALID),
    (422, 40010001, "invalid activity type: X", INVALID),
    (422, 40010001, "invalid order type for crypto order", INVALID),
    (422, 40010001, "crypto orders not allowed for account", MAY_NOT),
    (422, 42210000, "invalid crypto time_in_force", INVALID),
    (
        422,
        42210000,
        "invalid limit_price 290.123. sub-penny increment does not fulfill minimum pricing criteria",
        INVALID,
    ),
    (422, 42210000, "fractional orders must be DAY orders", INVALID),
    (422, 42210000, "fractional orders must be simple orders", INVALID),
    (422, 42210000, "fractional orders cannot be sold short", MAY_NOT),
    (422, 42210000, "extended hours order must be DAY or GTC limit orders", INVALID),
    (422, 42210000, 'order is already in "filled" state', CLOSED),
    (422, 42210000, "unable to replace order, order is not open", CLOSED),
    (422, 42210000, 'asset "X" not found', MISSING),
    (422, 42210000, 'asset "X" is not tradable', MAY_NOT),
    (422, 42210000, 'asset "X" cannot be sold short', MAY_NOT),
    (422, 42210000, "stop price must be less than current price", INVALID),
    (422, 42210000, "take_profit.limit_price must be > stop_loss.stop_price", INVALID),
    (403, 42210000, "subscription does not permit querying recent SIP data", U),
    (429, 42910000, "too many requests", RateLimitedError),
    *((status, None, "internal server error", U) for status in (500, 502, 503, 504)),
    (400, 40010000, "request body format is invalid", INVALID),
    (413, 41310000, "request body is larger than 1048576 bytes", INVALID),
]
STATUSES = [0, 302, *range(399, 431), *range(499, 510), 999]


@pytest.mark.parametrize(("status", "code", "text", "error"), KNOWN)
def test_everything_that_alpaca_is_known_to_say_has_its_kind(
    status: int, code: int | None, text: str, error: type[BrokerError]
) -> None:
    """A submit of it ends in exactly this class."""
    assert rule_for("POST", status, Answer(code, text, is_alpaca=True)).error is error


@pytest.mark.parametrize(
    ("method", "status", "code", "text", "error"),
    [
        ("GET", 403, 42210000, "subscription does not permit querying recent SIP data", MAY_NOT),
        ("GET", 404, 40410000, "position does not exist", MISSING),
        ("GET", 422, 40010001, "invalid activity type: X", INVALID),
        ("GET", 429, None, "", RateLimitedError),
        ("DELETE", 404, 40410000, "order not found for 1", MISSING),
        ("DELETE", 422, 42210000, 'order is already in "filled" state', CLOSED),
        ("DELETE", 422, 40010001, "order_id is missing", INVALID),
        ("DELETE", 403, 40310000, "insufficient qty available for order (requested: 1, available: 0)", U),
        (CLOSE, 403, 40310000, "insufficient qty available for order (requested: 1, available: 0)", FUNDS),
        (CLOSE, 404, 40410000, "position does not exist", MISSING),
        # A first copy of this very request may have replaced it.
        ("PATCH", 422, 42210000, "unable to replace order, order is not open", U),
        ("PATCH", 403, 40310000, "order parameters are not changed", INVALID),
    ],
)
def test_the_kind_depends_on_what_was_asked(
    method: str, status: int, code: int | None, text: str, error: type[BrokerError]
) -> None:
    """A cancel is refused only where there is nothing to cancel; closing a position is an order."""
    assert rule_for(method, status, Answer(code, text, is_alpaca=True)).error is error


def test_each_listed_refusal_has_a_kind_for_any_text() -> None:
    """So that a new sentence under a known code is no surprise; and no kind stands for a code that is not listed."""
    with_any_text = {(kind.status, kind.code) for kind in KINDS if not kind.text.pattern}

    assert with_any_text == {(kind.status, kind.code) for kind in KINDS} == set(REFUSALS)


@pytest.mark.parametrize(
    ("method", "status", "body", "outcome"),
    [
        ("POST", 401, said(None, "unauthorized."), Outcome.REFUSED),
        ("POST", 403, said(40310000, "insufficient buying power"), Outcome.REFUSED),
        ("POST", 403, said(40399999, "no"), Outcome.UNLISTED),
        ("POST", 422, said(40010001, "client_order_id must be unique"), Outcome.ID_TAKEN),
        ("POST", 422, said(40010001, "qty must be > 0"), Outcome.REFUSED),
        ("POST", 429, b"", Outcome.RATE_LIMITED),
        ("POST", 403, HTML, Outcome.FOREIGN_ANSWER),
        ("POST", 502, HTML, Outcome.SERVER_ERROR),
        ("POST", 504, b"", Outcome.SERVER_ERROR),
        ("POST", 408, b"", Outcome.SERVER_ERROR),
        ("POST", 302, b"", Outcome.FOREIGN_ANSWER),
        ("PATCH", 403, said(40310000, "order parameters are not changed"), Outcome.REFUSED),
        ("PATCH", 404, said(40410000, "order not found for 1"), Outcome.REFUSED),
        ("PATCH", 422, said(40010001, "client_order_id must be unique"), Outcome.ID_TAKEN),
        # A first copy of this very request may have replaced it.
        ("PATCH", 422, said(42210000, "unable to replace order, order is not open"), Outcome.UNLISTED),
        ("PATCH", 429, HTML, Outcome.RATE_LIMITED),
        ("PATCH", 504, HTML, Outcome.SERVER_ERROR),
        ("PATCH", 403, said(40399999, "no"), Outcome.UNLISTED),
        ("DELETE", 404, said(40410000, "order not found for 1"), Outcome.NOT_FOUND),
        ("DELETE", 422, said(42210000, 'order is already in \\"filled\\" state'), Outcome.REFUSED),
        ("DELETE", 429, HTML, Outcome.RATE_LIMITED),
        ("DELETE", 403, said(40310000, "no"), Outcome.UNLISTED),
        ("DELETE", 403, HTML, Outcome.FOREIGN_ANSWER),
        ("DELETE", 500, b"", Outcome.SERVER_ERROR),
        ("GET", 404, said(40410000, "order not found for 1"), Outcome.REFUSED),
    ],
)
def test_every_answer_has_its_outcome(method: str, status: int, body: bytes, outcome: Outcome) -> None:
    """By which the kernel's decision table says what follows."""
    assert rule_for(method, status, read_answer(body)).outcome is outcome


def test_a_submit_is_refused_only_by_what_is_listed() -> None:
    """P2: of all statuses and codes, those in the list, and nothing else, are a definite no in the venue's own words."""
    codes = [None, 1, *(code for _, code in REFUSALS)]
    refused = {
        (status, code)
        for status in range(1000)
        for code in codes
        if rule_for("POST", status, Answer(code, "no", is_alpaca=True)).outcome is Outcome.REFUSED and status != 401
    }
    assert refused == set(REFUSALS)


def test_an_exception_says_whether_it_was_a_time_out_or_a_cut() -> None:
    """P2: neither is a verdict; people are told which it was."""
    assert TRANSPORT_RULES[httpx.ReadTimeout].outcome is Outcome.NO_ANSWER
    assert TRANSPORT_RULES[httpx.ReadError].outcome is Outcome.CUT
    assert {f.outcome for f in TRANSPORT_RULES.values() if not f.was_sent} == {Outcome.NOT_SENT}
    assert Outcome.NOT_SENT not in {f.outcome for f in TRANSPORT_RULES.values() if f.was_sent}


HTTPX_EXCEPTIONS = [
    thing
    for thing in vars(httpx).values()
    if inspect.isclass(thing) and issubclass(thing, Exception) and thing.__module__.startswith("httpx")
]


@pytest.mark.parametrize("kind", HTTPX_EXCEPTIONS)
def test_every_exception_of_the_http_library_has_a_row_of_its_own(kind: type[Exception]) -> None:
    """One that a new version adds fails here, until someone has thought about it."""
    assert kind in TRANSPORT_RULES


def test_the_library_has_exceptions() -> None:
    """Canary: the enumeration above finds them."""
    assert len(HTTPX_EXCEPTIONS) > 20
    assert httpx.ConnectError in HTTPX_EXCEPTIONS


def test_only_what_happens_before_the_first_byte_is_known_not_to_be_sent() -> None:
    """Everything else may have arrived."""
    not_sent = {kind for kind, failure in TRANSPORT_RULES.items() if not failure.was_sent}

    assert not_sent == {
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.PoolTimeout,
        httpx.UnsupportedProtocol,
        httpx.InvalidURL,
    }


def test_a_more_special_exception_gets_the_row_of_its_nearest_ancestor() -> None:
    """And one of another family gets none."""

    class Odd(httpx.ReadTimeout):
        """A time-out that the library does not have yet."""

    assert failure_of(Odd("odd")) is TRANSPORT_RULES[httpx.ReadTimeout]
    assert failure_of(ConnectionResetError()) is TRANSPORT_RULES[OSError]
    assert failure_of(ValueError()) is None


def test_the_words_keep_the_details_that_came_with_them() -> None:
    """An operator needs to know how much was available."""
    answer = read_answer(b'{"code":40310000,"message":"insufficient buying power","buying_power":"1.5"}')

    assert answer == Answer(40310000, "insufficient buying power (buying_power 1.5)", is_alpaca=True)


@pytest.mark.parametrize("body", [b"", HTML, b"[]", b"null", b'"x"', b'{"message":7}', b"\xff\xfe", b'{"code":1}'])
def test_what_is_not_alpacas_error_is_not_taken_for_it(body: bytes) -> None:
    """Whatever stands in the body."""
    assert read_answer(body) == Answer(None, "", is_alpaca=False)


@pytest.mark.parametrize(
    ("error", "missing"),
    [
        (BrokerRefusedError("order not found for 1", status=404, code=40410000), True),
        (BrokerRefusedError("GET /x: endpoint not found", status=404, code=40410000), False),
        (BrokerRefusedError("not found", status=404), False),
        (BrokerRefusedError("order not found", status=422, code=40410000), False),
        (OutcomeUnknownError("timed out"), False),
    ],
)
def test_only_alpacas_own_words_are_evidence_that_something_is_missing(error: BrokerError, missing: bool) -> None:
    """A proxy's 404 says nothing of the order."""
    assert is_missing(error) is missing


def test_no_sentence_shows_a_key() -> None:
    """The texts are constants."""
    assert "APCA_API_KEY_ID" in alpaca_errors.KEYS_REFUSED
