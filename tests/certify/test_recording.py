"""Recordings tell nothing of the account, whatever a venue says; and two of them are compared value by value."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.certify import Plan, Recording, Run, Side, compare, record
from holdfast.certify.recording import RecordedStep, check_scrubbed, identifying
from holdfast.certify.rules import RULES, normalised, rule_of
from holdfast.certify.script import REFUSALS, Step
from holdfast.certify.side import Answer
from holdfast.model.errors import HoldfastError

KEY, SECRET = "PKRECORDRECORDRECORD", "recordsSecretRecordsSecretRecordsSecret1"
ACCOUNT_ID, NUMBER = "1f4c2d0a-9b1e-4c57-8f6e-2a7b3c4d5e6f", "PA3XYZ7QWERT"
HELD = (KEY, SECRET, ACCOUNT_ID, NUMBER)
PLAN = Plan(symbol="F", price=Decimal("12.5"), quantity=Decimal(1))


def _run(*steps: tuple[str, str, Any]) -> Run:
    run = Run(Side("http://127.0.0.1:1", "http://127.0.0.1:1", KEY, SECRET), PLAN)
    account = {"id": ACCOUNT_ID, "account_number": NUMBER, "status": "ACTIVE"}
    for name, subject, body in (("account", "account", account), *steps):
        run.steps.append(Step(name, subject, "GET", f"/v2/{name}", None, Answer(200, body), 0))
    return run


_secret = st.sampled_from(HELD)
_text = st.one_of(
    st.text(max_size=20),
    _secret,
    st.builds(lambda before, secret, after: before + secret + after, st.text(max_size=5), _secret, st.text(max_size=5)),
    st.uuids().map(str),
)
_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), _text),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=12,
)


@given(
    body=_json,
    subject=st.sampled_from(["account", "order", "error", "event", "asset", "activity", "position", "cancel"]),
)
def test_no_recording_ever_holds_what_identifies(body: Any, subject: str) -> None:
    """Whatever stands where in an answer: no key, no secret, no account number, no id."""
    run = _run(("it", subject, {"rows": body, "text": body}))
    run.side.events.append({"event": "new", "order": {"id": "o"}, "extra": body})
    run.ids["first"] = "o"

    text = msgspec.json.encode(record(run)).decode()

    for secret in HELD:
        assert secret not in text


@pytest.mark.parametrize("secret", HELD)
def test_a_recording_that_would_identify_is_refused(secret: str) -> None:
    """The canary of the last look: it complains of each, in any case, and of ids that nobody knew."""
    known = identifying(_run())

    for text in (f'{{"x":"{secret}"}}', f'{{"x":"see {secret.lower()}!"}}'):
        with pytest.raises(HoldfastError, match="would hold"):
            check_scrubbed(text, known)
    with pytest.raises(HoldfastError, match="would hold"):
        check_scrubbed('{"x":"99999999-1111-4222-8333-444444444444"}', {})
    check_scrubbed('{"x":"harmless"}', known)


def test_a_key_of_a_field_that_holds_a_secret_is_refused() -> None:
    """Names of fields are not ours to change: nothing is written then."""
    with pytest.raises(HoldfastError, match="would hold <key>"):
        record(_run(("it", "order", {KEY: 1})))


# -- rules ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("order.created_at", "2026-07-01T14:00:00.123Z", "<time>"),
        ("order.created_at", None, None),
        ("order.created_at", "yesterday", "yesterday"),
        ("order.limit_price", "6.25", "6.25"),
        ("order.filled_avg_price", "12.51", "<amount>"),
        ("order.filled_avg_price", 12.51, "<number>"),
        ("submitted.status", "pending_new", "<live>"),
        ("submitted.status", "rejected", "rejected"),
        ("order.status", "new", "new"),
        ("account.cash", "100000", "<amount>"),
        ("account.cash", 100000, "<number>"),
        ("account.trading_blocked", False, "<flag>"),
        ("account.status", "ACTIVE", "ACTIVE"),
        ("account.of_the_future", {"id": "x"}, "<object>"),
        ("asset.tradable", True, True),
        ("error.code", 40010001, 40010001),
        ("error.message", "only 0.1995 left of 2", "only <number> left of 2"),
        ("order.asset_id", "99999999-1111-4222-8333-444444444444", "<uuid>"),
    ],
)
def test_each_value_is_shown_by_its_rule(path: str, value: Any, shown: Any) -> None:
    """Its type is kept; what no rule names stays as it is."""
    assert normalised(value, path, {}) == shown


def test_ids_have_the_names_of_the_script() -> None:
    """So that an order that replaces another is the same order at both venues."""
    names = {"id-of-the-first": "<order first>"}

    assert normalised({"replaces": "id-of-the-first"}, "order", names) == {"replaces": "<order first>"}


def test_every_rule_says_why_and_is_the_first_of_something() -> None:
    """A row that is hidden by one above it would be a promise that nobody keeps."""
    for rule in RULES:
        assert rule.why
        examples = [pattern.replace("*", "x") for pattern in rule.paths]
        assert any(rule_of(example) is rule for example in examples), rule


def test_every_refusal_has_a_name_of_its_own() -> None:
    """Steps are compared by it."""
    names = [row.name for row in REFUSALS]

    assert len(names) == len(set(names))


# -- times ----------------------------------------------------------------------------------------


def test_impossible_times_are_told() -> None:
    """Outside of the session, or in an order that cannot be."""
    clock = ("clock", "clock", {"timestamp": "2026-07-01T10:00:00-04:00"})
    good = {"created_at": "2026-07-01T14:00:00Z", "submitted_at": "2026-07-01T14:00:00.1Z"}
    old = {**good, "created_at": "2020-07-01T14:00:00Z"}
    turned = {**good, "created_at": "2026-07-01T14:00:01Z"}

    assert record(_run(clock, ("good", "order", good))).times == ()
    assert record(_run(clock, ("old", "order", old))).times == ("old: created_at lies outside of the session",)
    assert record(_run(clock, ("turned", "order", turned))).times == ("turned: submitted_at lies before created_at",)


# -- differences ----------------------------------------------------------------------------------


def _recording(answer: Any, status: int = 200, **fields: Any) -> Recording:
    step = RecordedStep(name="it", method="GET", path="/", sent=None, status=status, answer=answer)
    return Recording(**{"plan": PLAN, "finished": True, "steps": (step,), **fields})


@pytest.mark.parametrize(
    ("yours", "venue", "where"),
    [
        ({"a": 1}, {"a": 2}, ["a"]),
        ({"a": 1}, {"a": "1"}, ["a"]),
        ({"a": 1}, {"a": True}, ["a"]),
        ({"a": 1}, {}, ["a"]),
        ({}, {"a": None}, ["a"]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, ["a.b[1]"]),
        ({"a": [1]}, {"a": [1, 2]}, ["a"]),
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}, []),
    ],
)
def test_each_difference_has_its_place(yours: Any, venue: Any, where: list[str]) -> None:
    """Values, types, fields on one side, lists."""
    assert [difference.where for difference in compare(_recording(yours), _recording(venue))] == where


def test_status_steps_streams_times_and_ends_are_compared() -> None:
    """Everything that a recording holds."""
    new, filled = {"event": "new", "order": {}}, {"event": "fill", "order": {"x": 1}}
    venue = _recording({}, events={"entry": (new, filled)})
    swapped = _recording({}, events={"entry": (filled, new)})
    other = _recording({}, events={"entry": (new, {**filled, "order": {"x": 2}})})

    def places(yours: Recording) -> list[tuple[str, str]]:
        return [(difference.step, difference.where) for difference in compare(yours, venue)]

    assert places(_recording({}, 500, events=venue.events)) == [("it", "HTTP status")]
    assert places(swapped) == [("stream: entry", "sequence")]
    assert places(other) == [("stream: entry", "fill.order.x")]
    assert places(_recording({}, events=venue.events, times=("it: odd",))) == [("times", "")]
    assert places(_recording({}, events=venue.events, finished=False)) == [("script", "finished")]
    assert places(_recording({}, events=venue.events, steps=())) == [("it", "step")]
