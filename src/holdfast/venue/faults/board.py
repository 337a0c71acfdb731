"""The rules that stand: which of them strike, how often they have, and the chance that a seed decides.

Chance is a digest of the seed, the rule's number and the number of the match, so that the same requests in the same
order meet the same faults, whatever else the venue does meanwhile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from holdfast.model.timestamps import format_rfc3339
from holdfast.venue.faults.rules import Rule, Target, moment_of

_CHANCES = 1 << 64


class Standing:
    """A rule that stands.

    Attributes:
        id: Its name at the admin port; never given again.
        number: Its place in the order of arrival, from 1.
        rule: What was asked for.
        matched: How many requests, messages or connections it would have struck.
        struck: How many it did strike.
    """

    __slots__ = ("end", "id", "matched", "number", "rule", "start", "struck")

    def __init__(self, number: int, rule: Rule, begins_at: int) -> None:
        self.id = f"f{number}"
        self.number = number
        self.rule = rule
        self.matched = 0
        self.struck = 0
        self.start = moment_of(rule.start, begins_at)
        self.end = moment_of(rule.end, begins_at)

    @property
    def is_spent(self) -> bool:
        """Whether it has struck as often as it was to."""
        most = self.rule.strikes_max
        return most is not None and self.struck >= most

    def is_active(self, now: int) -> bool:
        """Whether it may strike at this moment (UTC ns)."""
        return (
            not self.is_spent
            and (self.start is None or now >= self.start)
            and (self.end is None or now < self.end)
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """What the admin port says of it."""
        asked = {name: value for name, value in msgspec.to_builtins(self.rule).items() if value is not None}
        moments = {
            name: format_rfc3339(at) for name, at in (("start", self.start), ("end", self.end)) if at is not None
        }
        return {
            "id": self.id,
            **asked,
            **moments,
            "target": self.rule.where,
            "matched": self.matched,
            "struck": self.struck,
            "spent": self.is_spent,
        }


class FaultBoard:
    """All rules of one venue.

    Args:
        seed: Decides every chance.
        begins_at: From when on the seconds of rules are counted (UTC ns).
        now: The venue's time (UTC ns).

    Attributes:
        on_change: Called when rules have been added or removed.
    """

    def __init__(self, *, seed: int = 0, begins_at: int = 0, now: Callable[[], int] = lambda: 0) -> None:
        self.seed = seed
        self.begins_at = begins_at
        self.now = now
        self.on_change: Callable[[], None] = lambda: None
        self._standing: dict[str, Standing] = {}
        self._given = 0
        self._by_target: dict[Target, list[Standing]] = {}

    def add(self, rules: Sequence[Rule]) -> list[Standing]:
        """Let rules stand from now on."""
        added = []
        for rule in rules:
            self._given += 1
            added.append(Standing(self._given, rule, self.begins_at))
        self._standing.update((standing.id, standing) for standing in added)
        self._index()
        return added

    def remove(self, rule_id: str) -> Standing | None:
        """Take a rule away; None if there is no such rule."""
        standing = self._standing.pop(rule_id, None)
        if standing is not None:
            self._index()
        return standing

    def clear(self) -> list[Standing]:
        """Take all rules away."""
        gone = list(self._standing.values())
        self._standing.clear()
        self._index()
        return gone

    def standing(self, rule_id: str | None = None) -> list[Standing]:
        """All rules, or the one of this id, in the order of arrival."""
        return [one for one in self._standing.values() if rule_id in (None, one.id)]

    def concerns(self, target: Target) -> bool:
        """Whether any rule is about this target: the one question that costs something where there are no faults."""
        return target in self._by_target

    def rules(self, target: Target) -> list[Standing]:
        """The rules about a target that may strike now."""
        now = self.now()
        return [standing for standing in self._by_target.get(target, ()) if standing.is_active(now)]

    def strikes(self, standing: Standing) -> bool:
        """Whether a rule strikes what it has just matched. Counts both."""
        standing.matched += 1
        rule = standing.rule
        if standing.matched <= rule.skip:
            return False
        if rule.probability is not None and self._chance(standing) >= rule.probability:
            return False
        standing.struck += 1
        return True

    def next_start(self) -> int | None:
        """When the next rule begins to stand (UTC ns), if one waits for its moment."""
        now = self.now()
        return min(
            (one.start for one in self._standing.values() if one.start is not None and one.start > now), default=None
        )

    def _chance(self, standing: Standing) -> float:
        text = f"{self.seed}:{standing.number}:{standing.matched}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:8]) / _CHANCES

    def _index(self) -> None:
        self._by_target = {}
        for standing in self._standing.values():
            self._by_target.setdefault(standing.rule.where, []).append(standing)
        self.on_change()
