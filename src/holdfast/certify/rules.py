"""What cannot be equal at two venues, in one table: each row says which fields, how they are shown, and why.

A path is the subject of an answer (``account``, ``order``, ``submitted``: an order in the answer that made it, ``position``, ``asset``,
``clock``, ``configuration``, ``activity``, ``event``, ``error``) and the names of the fields down to the value; places in a list
have no name. The first row that fits decides; a field that no row names must be equal, text for text. What is shown
for a value keeps its type, so that a number where a text was expected is still a difference.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from holdfast.model.errors import DataError
from holdfast.model.timestamps import parse_rfc3339

_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_FRACTION = re.compile(r"\d+\.\d+")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_HOUR = re.compile(r"\d{2}:\d{2}")


def _kind(value: Any) -> Any:
    """Its type, and nothing else of it; null stays null."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "<flag>"
    if isinstance(value, int | float):
        return "<number>"
    if isinstance(value, str):
        return "<amount>" if _NUMBER.fullmatch(value) else "<time>" if is_time(value) else "<text>"
    return "<list>" if isinstance(value, list) else "<object>"


def _nullable(_: Any) -> Any:
    return "<anything>"


def _time(value: Any) -> Any:
    return "<time>" if is_time(value) else value


def _live(value: Any) -> Any:
    return "<live>" if value in ("accepted", "pending_new", "new") else value


def _words(value: Any) -> Any:
    return _FRACTION.sub("<number>", value) if isinstance(value, str) else value


def is_time(value: Any) -> bool:
    """Whether a text is a moment or a day."""
    if not isinstance(value, str):
        return False
    if _DATE.fullmatch(value) or _HOUR.fullmatch(value):
        return True
    try:
        parse_rfc3339(value)
    except (DataError, ValueError):
        return False
    return True


class Rule(NamedTuple):
    """One row.

    Attributes:
        paths: Patterns of paths, ``*`` for anything.
        show: What is shown for a value.
        why: Why it cannot be equal.
    """

    paths: tuple[str, ...]
    show: Callable[[Any], Any]
    why: str


# fmt: off
RULES: tuple[Rule, ...] = (
    Rule(("account.status", "account.currency"), lambda value: value, "whoever may trade has the same"),
    Rule(("configuration.max_options_trading_level",), _nullable, "a setting of the account, and null where there is none"),
    Rule(("account.*", "configuration.*"), _kind, "money, margin, permissions and settings are the account's own"),
    Rule(("asset.id", "asset.symbol", "asset.class", "asset.status", "asset.tradable"), lambda value: value,
         "what is traded is the same"),
    Rule(("asset.cusip",), _nullable, "a registered name, or null"),
    Rule(("asset.*",), _kind, "a list of assets is kept by each venue, and changes by the day"),
    Rule(("clock.is_open",), _kind, "coins are traded at any hour; for stocks it is asked for before"),
    Rule(("submitted.status",), _live, "the answer to a submit may come before or after the venue has routed it"),
    Rule(("*_at", "*.timestamp", "*.at", "*.transaction_time", "*.expires_at", "clock.*", "*.date", "*.settle_date"), _time,
         "when; that times are possible ones is asked for by `holdfast.certify.recording`"),
    Rule(("activity.id", "*.event_id", "*.execution_id"), _kind, "an id of the venue's own making"),
    Rule(("*.filled_avg_price", "event.price", "activity.price", "event.order.hwm", "*.swap_rate"), _kind,
         "the market's price at that moment"),
    Rule(("event.qty", "event.position_qty", "activity.qty", "activity.cum_qty", "activity.leaves_qty"), _kind,
         "one order may fill in several parts, and coins lose their fee"),
    Rule(("position.qty", "position.qty_available", "position.avg_entry_price", "position.market_value", "position.cost_basis",
          "position.unrealized_*", "position.current_price", "position.lastday_price", "position.change_today",
          "position.exchange", "position.asset_marginable"), _kind, "the market's prices, and coins after their fee"),
    Rule(("submitted.qty", "order.qty", "event.order.qty", "*.filled_qty"), _words, "coins are sold after their fee"),
    Rule(("error.available", "error.balance", "error.existing_qty", "error.held_for_orders", "error.buying_power",
          "error.cost_basis"), _kind, "the account's money, and coins after their fee"),
    Rule(("error.message", "error.reject_reason"), _words, "amounts with a fraction depend on price and fee"),
)
# The stream's events that tell only of a request on its way: some venues tell them, and may skip them.
PASSING_EVENTS = frozenset({"accepted", "pending_new", "pending_cancel", "pending_replace", "partial_fill"})
# fmt: on


def rule_of(path: str) -> Rule | None:
    """The first row that names a path; None where the value must be equal."""
    return next((rule for rule in RULES if any(fnmatchcase(path, pattern) for pattern in rule.paths)), None)


def normalised(value: Any, path: str, names: Mapping[str, str]) -> Any:
    """A value as it is compared and recorded.

    Args:
        value: JSON.
        path: Of it.
        names: What stands for each id that is known, longest first.
    """
    if isinstance(value, dict):
        if (rule := rule_of(path)) is not None and rule.show is _kind:
            return _kind(value)
        return {key: normalised(part, f"{path}.{key}", names) for key, part in sorted(value.items())}
    if isinstance(value, list):
        if (rule := rule_of(path)) is not None and rule.show is _kind:
            return _kind(value)
        return [normalised(part, path, names) for part in value]
    if isinstance(value, str):
        value = _named(value, names)
    rule = rule_of(path)
    return value if rule is None else rule.show(value)


def _named(text: str, names: Mapping[str, str]) -> str:
    for raw, name in names.items():
        text = text.replace(raw, name)
    return _UUID.sub("<uuid>", text)
