"""Faults on command, at the admin port.

GET    /faults             the rules that stand, and how often each has struck
POST   /faults             one rule or a list of rules
DELETE /faults, /faults/ID all of them, or one
GET    /faults/effects     the table of effects
"""

from __future__ import annotations

from typing import NoReturn

from holdfast.model.errors import ConfigurationError
from holdfast.venue.faults import EFFECTS, FaultControl, parse_rules
from holdfast.venue.http import Answer, Request, Route
from holdfast.venue.matching.refusals import refuse_invalid, refuse_missing


class FaultsApi:
    """The handlers, over the faults of one venue."""

    def __init__(self, faults: FaultControl) -> None:
        self._faults = faults

    def routes(self) -> list[Route]:
        """The table, for the admin port."""
        return [
            Route("GET", "/faults", self.standing, access="public"),
            Route("POST", "/faults", self.add, access="public"),
            Route("DELETE", "/faults", self.clear, access="public"),
            Route("GET", "/faults/effects", self.effects, access="public"),
            Route("GET", "/faults/{}", self.one, access="public"),
            Route("DELETE", "/faults/{}", self.remove, access="public"),
        ]

    def standing(self, request: Request) -> Answer:
        """Every rule that stands."""
        board = self._faults.board
        return Answer({"seed": board.seed, "faults": [one.to_json() for one in board.standing()]})

    def one(self, request: Request) -> Answer:
        """One rule."""
        found = self._faults.board.standing(request.parts[0])
        if not found:
            _refuse_unknown(request.parts[0])
        return Answer(found[0].to_json())

    def add(self, request: Request) -> Answer:
        """Let one rule or a list of rules stand; all of them, or none if one makes no sense."""
        body = request.plain()
        try:
            rules = parse_rules(body, "fault" if not isinstance(body, list) else "faults")
        except ConfigurationError as error:
            refuse_invalid(str(error))
        added = [one.to_json() for one in self._faults.add(rules)]
        return Answer(added if isinstance(body, list) else added[0], 201)

    def remove(self, request: Request) -> Answer:
        """Take one rule away; the answer says how often it struck."""
        gone = self._faults.remove(request.parts[0])
        if gone is None:
            _refuse_unknown(request.parts[0])
        return Answer(gone.to_json())

    def clear(self, request: Request) -> Answer:
        """Take all rules away."""
        return Answer([one.to_json() for one in self._faults.clear()])

    def effects(self, request: Request) -> Answer:
        """What there is."""
        rows = {
            name: {"targets": effect.targets, "options": effect.options, "does": effect.does}
            for name, effect in EFFECTS.items()
        }
        return Answer(rows)


def _refuse_unknown(rule_id: str) -> NoReturn:
    refuse_missing(f"there is no fault {rule_id}; GET /faults lists them")
