"""What was said, as data that may be kept and shown: by the rules, and then searched for anything that tells whose account it was."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

import holdfast
from holdfast.certify.plan import Plan
from holdfast.certify.rules import PASSING_EVENTS, is_time, normalised
from holdfast.certify.script import Run, Step
from holdfast.model.errors import DataError, HoldfastError
from holdfast.model.timestamps import NS_PER_SECOND, parse_rfc3339

FORM = 1
_TOLERANCE_SECONDS = 90.0
_SECRET_LENGTH_MIN = 8
_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_NOW = (
    "created_at",
    "submitted_at",
    "updated_at",
    "filled_at",
    "canceled_at",
    "replaced_at",
    "timestamp",
    "at",
    "transaction_time",
)
# In the life of one order each comes no earlier than the one before it.
_ORDER = ("created_at", "submitted_at", "filled_at"), ("submitted_at", "canceled_at"), ("submitted_at", "replaced_at")


class RecordedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A question and its answer."""

    name: str
    method: str
    path: str
    sent: Any
    status: int
    answer: Any


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the script.

    Attributes:
        form: Of this record.
        version: Holdfast's.
        plan: What was traded.
        finished: Whether the script came to its end.
        handshake: What the trade stream said at its opening.
        steps: By their names, in order.
        events: What the trade stream told of each order, by the script's name for it.
        times: Moments that cannot be right, a sentence each.
    """

    form: int = FORM
    version: str = holdfast.__version__
    plan: Plan
    finished: bool
    handshake: tuple[Any, ...] = ()
    steps: tuple[RecordedStep, ...] = ()
    events: dict[str, tuple[Any, ...]] = {}
    times: tuple[str, ...] = ()


def record(run: Run, *, finished: bool = True) -> Recording:
    """A run as a recording.

    Raises:
        HoldfastError: Something in it would tell whose account it was. This is a bug of ours.
    """
    names = _names(run)
    steps = tuple(
        RecordedStep(
            name=step.name,
            method=step.method,
            path=normalised(step.path, "path", names),
            sent=normalised(step.body, "sent", names),
            status=step.answer.status,
            answer=normalised(_ours(run, step), step.subject, names),
        )
        for step in run.steps
    )
    events = {
        order: tuple(
            normalised(event, "event", names) for event in run.told(order) if event.get("event") not in PASSING_EVENTS
        )
        for order in run.ids
    }
    recording = Recording(
        plan=run.plan,
        finished=finished,
        handshake=tuple(normalised(part, "handshake", names) for part in run.side.handshake),
        steps=steps,
        events=events,
        times=tuple(sorted(set(_impossible_times(run)))),
    )
    check_scrubbed(msgspec.json.encode(recording).decode(), identifying(run))
    return recording


def _ours(run: Run, step: Step) -> Any:
    """An answer, without what others traded, and with one row for each order that was filled in several parts."""
    body = step.answer.body
    if step.subject != "activity" or not isinstance(body, list):
        return body
    orders = run.ids.values()
    return [row for row in body if row.get("order_id") in orders and row.get("type") != "partial_fill"]


def write(recording: Recording, path: Path) -> None:
    """Keep a recording as readable JSON.

    Raises:
        HoldfastError: It cannot be written.
    """
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(recording), indent=1) + b"\n")
    except OSError as error:
        message = f"the recording cannot be written to {path}: {error.strerror}"
        raise HoldfastError(message) from None


def read(path: Path) -> Recording:
    """A recording that was kept.

    Raises:
        DataError: It is none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Recording)
    except (OSError, msgspec.MsgspecError) as error:
        message = f"{path} is no recording of `holdfast certify`: {error}"
        raise DataError(message) from None


# -- whose account it was -----------------------------------------------------------------------


def identifying(run: Run) -> dict[str, str]:
    """What must never stand in a recording, each with what stands for it."""
    found = {run.side.key: "<key>", run.side.secret: "<secret>"}
    for step in run.steps:
        if step.name == "account" and isinstance(step.answer.body, dict):
            for field in ("id", "account_number"):
                value = step.answer.body.get(field)
                if isinstance(value, str) and value:
                    found[value] = f"<{field.replace('_', ' ')}>"
    return {text: name for text, name in found.items() if len(text) >= _SECRET_LENGTH_MIN}


def check_scrubbed(text: str, secrets: Mapping[str, str]) -> None:
    """Raises where a text holds a key, a secret, the account's number or id, or any UUID at all."""
    lowered = text.lower()
    for secret, name in secrets.items():
        if secret.lower() in lowered:
            message = f"the recording would hold {name}: nothing was written; please report this"
            raise HoldfastError(message)
    if _UUID.search(text):
        message = "the recording would hold an id of the venue's: nothing was written; please report this"
        raise HoldfastError(message)


def _names(run: Run) -> dict[str, str]:
    """What stands for each text that is known, the longest first, so that none is replaced in part."""
    found = dict(identifying(run))
    for name, client in run.clients.items():
        found.setdefault(client, f"<client {name}>")
    found.setdefault(f"{run.prefix}-none", "<client none>")
    for name, identity in run.ids.items():
        found[identity] = f"<order {name}>"
    for step in run.steps:
        if step.name == "asset" and isinstance(step.answer.body, dict) and isinstance(step.answer.body.get("id"), str):
            found[step.answer.body["id"]] = "<asset>"
    return dict(sorted(found.items(), key=lambda pair: len(pair[0]), reverse=True))


# -- times --------------------------------------------------------------------------------------


def _impossible_times(run: Run) -> Iterator[str]:
    """Moments outside of the run, by the venue's own clock, and orders of moments that cannot be."""
    clock = next((step for step in run.steps if step.name == "clock"), None)
    body = None if clock is None else clock.answer.body
    if clock is None or not isinstance(body, dict) or not is_time(body.get("timestamp")):
        return
    offset = parse_rfc3339(body["timestamp"]) - clock.answered_at
    speed, tolerance = run.side.speed, int(_TOLERANCE_SECONDS * max(run.side.speed, 1.0) * NS_PER_SECOND)
    for step in run.steps:
        if step.subject not in ("order", "submitted", "activity"):
            continue
        # The venue's time at the answer: it runs ``speed`` times as fast as ours since the clock was asked.
        now = clock.answered_at + offset + int((step.answered_at - clock.answered_at) * speed)
        first = clock.answered_at + offset - tolerance
        rows = step.answer.body if isinstance(step.answer.body, list) else [step.answer.body]
        for row in rows:
            if isinstance(row, dict):
                yield from _of_row(step.name, row, first, now + tolerance)


def _of_row(name: str, row: Mapping[str, Any], first: int, last: int) -> Iterator[str]:
    moments = {
        field: parse_rfc3339(row[field]) for field in _NOW if len(str(row.get(field))) > 10 and is_time(row.get(field))
    }
    for field, moment in moments.items():
        if not first <= moment <= last:
            yield f"{name}: {field} lies outside of the session"
    for chain in _ORDER:
        known = [(field, moments[field]) for field in chain if field in moments]
        for (earlier, one), (later, other) in pairwise(known):
            if other < one:
                yield f"{name}: {later} lies before {earlier}"
