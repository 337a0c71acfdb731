"""The tables that say what an answer means."""

from __future__ import annotations

import inspect

import httpx
import pytest

from holdfast.brokers import alpaca_errors
from holdfast.brokers.alpaca_errors import (
    HTTP_RULES,
    REFUSALS,
    TRANSPORT_RULES,
    Answer,
    failure_of,
    is_missing,
    read_answer,
    rule_for,
)
from holdfast.model import Outcome
from holdfast.model.errors import BrokerAuthError, BrokerError, BrokerRefusedError, OutcomeUnknownError

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


@pytest.mark.parametrize(("status", "body", "read", "submit", "cancel"), CASES)
def test_every_known_answer_has_its_verdict(
    status: int, body: bytes, read: type[BrokerError], submit: type[BrokerError], cancel: type[BrokerError]
) -> None:
    """For each of the three kinds of request."""
    verdicts = [rule_for(method, status, read_answer(body)).error for method in ("GET", "POST", "DELETE")]

    assert verdicts == [read, submit, cancel]
    assert rule_for("PATCH", status, read_answer(body)).error is submit, "a replace is a submit of the new order"


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
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
    codes = [None, *(code for _, code in REFUSALS)]
    answers = [Answer(code, text, is_alpaca=known) for text in words for known in (True, False) for code in codes]
    reached = {rule_for(m, s, a) for m in ("GET", "POST", "PATCH", "DELETE") for s in range(1000) for a in answers}

    assert reached == set(HTTP_RULES)


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
