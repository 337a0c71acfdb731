"""What did not fit. Nothing that the venue says is dropped in silence: it changes the books, or it lands here.

The tracker collects discrepancies, the kernel drains them after every event and turns each into an alert.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class DiscrepancyKind(StrEnum):
    """What did not fit."""

    MISMATCH = "mismatch"  # the venue's order under our id is not the order that we meant
    SECOND_ORDER = "second_order"  # the venue has two orders for one intent
    CONTRADICTION = "contradiction"  # the venue closed it, and now says something else
    REOPENED = "reopened"  # we had inferred that it was never sent; the venue has it
    LATE_FILL = "late_fill"  # an execution after the venue's closing word, beyond what that word said
    OVERFILL = "overfill"  # more was executed than ordered
    OVERCOUNTED = "overcounted"  # the venue's final quantity is below the sum of the executions that it sent
    CONFLICTING_EXECUTION = "conflicting_execution"  # two reports of one execution disagree on quantity or price
    ORPHAN_EXECUTION = "orphan_execution"  # an execution of an order that is not known here


class Discrepancy(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing that did not fit, for an alert. ``client_order_id`` is empty where no order of ours is concerned."""

    kind: DiscrepancyKind
    client_order_id: str
    detail: str
