"""What a fault is: a rule that names an effect, what it strikes, when, and how often.

``EFFECTS`` is the one table: each effect with the targets that it can strike, the options that it takes, and what it
does. A rule is checked against it when it is read, so that a misspelt option is an error with a place and not a fault
that never strikes.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from holdfast.model.errors import ConfigurationError, DataError
from holdfast.model.timestamps import NS_PER_SECOND, parse_rfc3339

Target = Literal["requests", "trade", "data", "events"]

#: What a rule can strike: HTTP requests to the trading port, and what leaves on its three kinds of streams.
TARGETS: Final[tuple[Target, ...]] = ("requests", "trade", "data", "events")
_STREAMS: Final[tuple[Target, ...]] = ("trade", "data", "events")
_SOCKETS: Final[tuple[Target, ...]] = ("trade", "data")
_REQUESTS: Final[tuple[Target, ...]] = ("requests",)


class Effect(msgspec.Struct, frozen=True):
    """A row of the table.

    Attributes:
        targets: What it can strike; a rule that names no target strikes the first.
        options: What it takes, with the defaults.
        does: What it does, in a sentence.
    """

    targets: tuple[Target, ...]
    options: Mapping[str, Any]
    does: str


EFFECTS: Final[Mapping[str, Effect]] = {
    # --- Requests. ``executed`` says whether what was asked for is done.
    "too_many_requests": Effect(
        _REQUESTS,
        {"headers": "all"},
        "Not executed; 429. headers: all (limits and Retry-After), limits, or none.",
    ),
    "gateway_timeout": Effect(_REQUESTS, {"executed": True}, "The order is placed, the answer is 504 with a page."),
    "server_error": Effect(
        _REQUESTS,
        {"status": 500, "executed": False, "body": "html"},
        "A 5xx from in front of the venue, before or after the deed; body: html or empty.",
    ),
    "error_body": Effect(
        _REQUESTS,
        {"status": 422, "code": 40010001, "message": "internal error occurred", "executed": True},
        "An error in the venue's own form although the order was placed.",
    ),
    "delay": Effect(
        ("requests", "trade", "data"),
        {"seconds": 1.0, "executed": False},
        "Real seconds of waiting: before the deed or (executed) after it; on a stream the message comes later.",
    ),
    "cut": Effect(
        ("requests", *_STREAMS),
        {"executed": False},
        "The connection is cut: before or after the deed, before or after the message; without a message to wait for, at once.",
    ),
    "alter": Effect(
        ("requests", *_STREAMS),
        {"set": {}},
        "Members of the answer or the message are set, by dotted path: unknown values, unknown events, further fields.",
    ),
    "stream_first": Effect(_REQUESTS, {"seconds": 0.2}, "The answer leaves so many real seconds after the stream's message."),
    "answer_first": Effect(_REQUESTS, {"seconds": 0.2}, "The trade stream's messages leave so many real seconds after the answer."),
    "pending_cancel": Effect(
        _REQUESTS,
        {"seconds": None},
        "A cancel is answered 204 and carried out after so many seconds of the venue's time; without seconds never.",
    ),
    "lag": Effect(_REQUESTS, {"seconds": 10.0}, "A GET shows the account as it was so many seconds of the venue's time ago."),
    # --- Streams.
    "mute": Effect(_STREAMS, {}, "The connection stays open, pings are answered, and nothing more is delivered on it."),
    "lost": Effect(_STREAMS, {}, "The message is never sent."),
    "duplicated": Effect(_STREAMS, {}, "The message is sent twice."),
    "reordered": Effect(_STREAMS, {}, "The message changes places with the next one of its connection."),
    "malformed": Effect(_STREAMS, {}, "The message is cut off in its middle."),
    "half_open": Effect(
        _SOCKETS,
        {"seconds": 30.0},
        "A connection that has ended keeps its place so many real seconds: the next one gets 429 (trade) or 406 (data).",
    ),
}  # fmt: skip

#: Effects on a whole connection. A rule without a message to wait for strikes each connection once, as soon as it listens.
CONNECTION_EFFECTS: Final = frozenset({"cut", "mute"})
_MESSAGE_MATCHERS: Final = ("kind", "client_order_id", "fields")
_OF_REQUESTS_ONLY: Final = ("method", "path")
_OF_STREAMS_ONLY: Final = ("kind",)
_WORDS: Final[Mapping[str, tuple[str, ...]]] = {"headers": ("all", "limits", "none"), "body": ("html", "empty")}
_LARGE: Final = 1e9
#: What numbers may be. A count may also be the word unlimited, a moment also a time.
_RANGES: Final = (
    ("count", 1, _LARGE),
    ("skip", 0, _LARGE),
    ("probability", 0, 1),
    ("seconds", 0, _LARGE),
    ("status", 400, 599),
    ("start", 0, _LARGE),
    ("end", 0, _LARGE),
)


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One fault, as it is asked for. Texts that match may hold ``*`` and ``?``.

    Attributes:
        effect: A row of ``EFFECTS``.
        target: What it strikes.
        name: What its author calls it.
        method, path, account, client_order_id: Which requests.
        kind: Which messages: the event of a trade update, ``T`` of market data, or the execution type of a trade event.
        fields: Members that the request's body or the message must have, by dotted path.
        count: How often it strikes; None without end. 1 by default, and without end where there is a probability.
        probability: Chance that a match is struck.
        skip: So many matches are let go first.
        start, end: Between which moments: RFC 3339, or seconds of the venue's time since its market began.
    """

    effect: str
    target: Target | None = None
    name: str = ""
    method: str | None = None
    path: str | None = None
    account: str | None = None
    client_order_id: str | None = None
    kind: str | None = None
    fields: dict[str, Any] = {}
    count: int | Literal["unlimited"] | None = None
    probability: float | None = None
    skip: int = 0
    start: str | float | None = None
    end: str | float | None = None
    # options
    headers: str | None = None
    status: int | None = None
    code: int | None = None
    message: str | None = None
    body: str | None = None
    executed: bool | None = None
    seconds: float | None = None
    set: dict[str, Any] | None = None

    def option(self, name: str) -> Any:
        """An option of the effect, or its default."""
        given = getattr(self, name)
        return EFFECTS[self.effect].options[name] if given is None else given

    @property
    def where(self) -> Target:
        """What it strikes."""
        return self.target or EFFECTS[self.effect].targets[0]

    @property
    def waits_for_message(self) -> bool:
        """Whether it names a message, or strikes a connection as such."""
        return any(getattr(self, name) for name in _MESSAGE_MATCHERS)

    @property
    def strikes_max(self) -> int | None:
        """How often it strikes at most; None is without end."""
        if self.count is None:
            return 1 if self.probability is None else None
        return None if isinstance(self.count, str) else self.count


class Scenario(msgspec.Struct, frozen=True):
    """What a scenario file holds.

    Attributes:
        seed: Decides every chance.
        faults: The rules.
    """

    seed: int = 0
    faults: tuple[Rule, ...] = ()


_OPTIONS: Final = ("headers", "status", "code", "message", "body", "executed", "seconds", "set")


def parse_rules(value: object, place: str = "faults") -> list[Rule]:
    """One rule or a list of rules.

    Raises:
        ConfigurationError: One makes no sense; says which, what, and what was expected.
    """
    if isinstance(value, list):
        return [_parse_rule(entry, f"{place}[{index}]") for index, entry in enumerate(value)]
    return [_parse_rule(value, place)]


def read_scenario(path: Path) -> Scenario:
    """A scenario file: ``seed`` and ``faults``, as TOML or (``.json``) as JSON.

    Raises:
        ConfigurationError: It cannot be read, or makes no sense.
    """
    try:
        text = path.read_bytes()
        value = msgspec.json.decode(text) if path.suffix == ".json" else tomllib.loads(text.decode("utf-8"))
    except OSError as error:
        message = f"the scenario {path} cannot be read: {error.strerror or error}"
        raise ConfigurationError(message) from error
    except (ValueError, msgspec.DecodeError, RecursionError) as error:
        message = f"the scenario {path} is no {'JSON' if path.suffix == '.json' else 'TOML'}: {error}"
        raise ConfigurationError(message) from error
    if not isinstance(value, dict) or value.keys() - {"seed", "faults"}:
        strange = sorted(value.keys() - {"seed", "faults"}) if isinstance(value, dict) else type(value).__name__
        message = f"the scenario {path}: expected the members seed and faults, found {strange}"
        raise ConfigurationError(message)
    seed, faults = value.get("seed", 0), value.get("faults", [])
    if not isinstance(seed, int) or isinstance(seed, bool):
        message = f"the scenario {path}: seed must be an integer, got {seed!r}"
        raise ConfigurationError(message)
    if not isinstance(faults, list):
        message = f"the scenario {path}: faults must be a list of tables"
        raise ConfigurationError(message)
    try:
        return Scenario(seed, tuple(parse_rules(faults)))
    except ConfigurationError as error:
        message = f"the scenario {path}: {error}"
        raise ConfigurationError(message) from None


def matches(pattern: str | None, text: str) -> bool:
    """Whether a text is meant; a pattern that was not given means every text."""
    return pattern is None or fnmatchcase(text, pattern)


def has_fields(value: object, fields: Mapping[str, Any]) -> bool:
    """Whether a decoded message has these members, by dotted path; texts may hold wildcards."""
    for path, wanted in fields.items():
        found: object = value
        for part in path.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if isinstance(wanted, str) and isinstance(found, str):
            if not fnmatchcase(found, wanted):
                return False
        elif found != wanted:
            return False
    return True


def moment_of(value: str | float | None, begins_at: int) -> int | None:
    """A rule's moment as UTC ns."""
    if value is None:
        return None
    return parse_rfc3339(value) if isinstance(value, str) else begins_at + int(value * NS_PER_SECOND)


def _parse_rule(value: object, place: str) -> Rule:
    if isinstance(value, dict):  # TOML has times of its own
        value = {name: part.isoformat() if isinstance(part, datetime) else part for name, part in value.items()}
    try:
        rule = msgspec.convert(value, Rule, strict=True)
    except msgspec.ValidationError as error:
        message = f"{place}: {error}; the members of a fault are {', '.join(Rule.__struct_fields__)}"
        raise ConfigurationError(message) from None
    complaint = next(_complaints(rule), None)
    if complaint is not None:
        message = f"{place}: {complaint}"
        raise ConfigurationError(message)
    return rule


def _complaints(rule: Rule) -> Iterator[str]:
    """What is wrong with a rule that has the right types, one sentence each: first the effect, then the values."""
    effect = EFFECTS.get(rule.effect)
    if effect is None:
        yield f"there is no effect {rule.effect!r}; expected one of {', '.join(EFFECTS)}"
        return
    if rule.where not in effect.targets:
        yield f"effect {rule.effect} cannot strike {rule.where}; expected {' or '.join(effect.targets)}"
    for name in _OPTIONS:
        if getattr(rule, name) is not None and name not in effect.options:
            takes = ", ".join(effect.options) or "no option"
            yield f"effect {rule.effect} takes no {name}; it takes {takes}"
    wrong = _OF_STREAMS_ONLY if rule.where == "requests" else _OF_REQUESTS_ONLY
    for name in wrong:
        if getattr(rule, name) is not None:
            yield f"{name} cannot be matched where the target is {rule.where}"
    if rule.effect == "alter" and not rule.set:
        yield "effect alter needs set: which members become what?"
    yield from _bad_values(rule)


def _bad_values(rule: Rule) -> Iterator[str]:
    for name, lowest, highest in _RANGES:
        number = getattr(rule, name)
        if isinstance(number, int | float) and not lowest <= number <= highest:
            yield f"{name} must be between {lowest:g} and {highest:g}, got {number:g}"
    for name, words in _WORDS.items():
        if getattr(rule, name) is not None and getattr(rule, name) not in words:
            yield f"{name} must be one of {', '.join(words)}, got {getattr(rule, name)!r}"
    for name in ("start", "end"):
        moment = getattr(rule, name)
        if isinstance(moment, str) and not _is_time(moment):
            yield f"{name} must be a time like 2024-01-02T14:30:00Z or a number of seconds, got {moment!r}"


def _is_time(text: str) -> bool:
    try:
        parse_rfc3339(text)
    except DataError:
        return False
    return True
