"""Faults on command: the venue misbehaves where it is told to, as the real one has been seen to.

- ``rules``: what a fault is, the one table of effects, and how a rule or a scenario file is read;
- ``board``: the rules that stand, how often each struck, and the seeded chance;
- ``requests``: the effects on requests and their answers;
- ``messages``: the effects on what leaves on a stream;
- ``pending``: orders whose cancel has been asked for and is not carried out yet.

Faults change what a client is told and when, never what is true: the book knows nothing of them, and a venue that is
started again has none but those of its scenario file.
"""

from __future__ import annotations

from holdfast.venue.faults.board import FaultBoard, Standing
from holdfast.venue.faults.control import FaultControl
from holdfast.venue.faults.rules import EFFECTS, Effect, Rule, Scenario, parse_rules, read_scenario

__all__ = [
    "EFFECTS",
    "Effect",
    "FaultBoard",
    "FaultControl",
    "Rule",
    "Scenario",
    "Standing",
    "parse_rules",
    "read_scenario",
]
