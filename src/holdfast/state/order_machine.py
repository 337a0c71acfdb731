"""The life of an order, as a table.

The problem: a venue's statuses arrive late, twice, out of order, or not at all, beside the answers to our own
requests, which have the same faults. If every place that learns something assigns ``order.status``, a stale "new"
reopens a filled order and a time-out closes a live one.

So the moves are data, in the style of h11: ``TRANSITIONS[state][event]`` is the next state, and what is not in the
table is an error that names both. Two kinds of event exist:

* **our own triggers** (submit, submit_unknown, ...). They obey the table, always: a miss is a bug of ours.
* **the venue's status words**. The table holds the moves one expects; a venue may also skip words, and repeat old
  ones. ``apply_venue`` is the rule for those, in one place.

Three principles decide the surprising rows, which are annotated where they stand:

1. What the venue closed stays closed. A fill that comes later is counted, but reopens nothing.
2. What *we* inferred (never_sent) is reopened by the venue's evidence. A refusal is the venue's answer to a request, not
   its word on the order: error answers have been seen although the order was placed, so the tracker reopens one, too.
3. Silence is never evidence: a submit without an answer is UNKNOWN, and only the venue's word, or our own process's
   word that nothing left, takes it from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from holdfast.model.enums import OrderStatus
from holdfast.model.errors import OrderError


class OrderEvent(StrEnum):
    """What can happen to an order: first our own triggers, then the venue's status words."""

    # Ours.
    SUBMIT = "submit"  # the request was handed over for sending
    SUBMIT_UNKNOWN = "submit_unknown"  # the request ended without a verdict: time-out, cut connection, 5xx
    SUBMIT_DROPPED = "submit_dropped"  # our own process says that nothing left it
    REFUSED = "refused"  # the venue answered the submit with a definite "no"
    NEVER_SENT = "never_sent"  # we infer from evidence that the venue does not have it
    RESTARTED = "restarted"  # the process that knew what was in flight is gone

    # What an execution says about its order.
    EXECUTION = "execution"  # part of the order traded
    LAST_EXECUTION = "last_execution"  # with this one, all of it has traded

    # The venue's words, and one for a word that we do not know: it proves that the order exists.
    UNRECOGNISED = "unrecognised"
    ACCEPTED = "accepted"
    ACCEPTED_FOR_BIDDING = "accepted_for_bidding"
    PENDING_NEW = "pending_new"
    PENDING_REVIEW = "pending_review"
    NEW = "new"
    HELD = "held"
    PARTIALLY_FILLED = "partially_filled"
    DONE_FOR_DAY = "done_for_day"
    PENDING_CANCEL = "pending_cancel"
    PENDING_REPLACE = "pending_replace"
    STOPPED = "stopped"
    SUSPENDED = "suspended"
    CALCULATED = "calculated"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    REPLACED = "replaced"


class IllegalTransitionError(OrderError):
    """An event that cannot happen in this state. For our own triggers this is a bug of the caller."""

    def __init__(self, status: OrderStatus, event: OrderEvent) -> None:
        super().__init__(f"an order that is {status.value!r} cannot take the event {event.value!r}")
        self.status = status
        self.event = event


_S = OrderStatus
_E = OrderEvent

# Every status is in exactly one of the four.
IN_FLIGHT: frozenset[OrderStatus] = frozenset({_S.CREATED, _S.SUBMITTED, _S.UNKNOWN})
"""The venue has not been heard yet: it may or may not have the order."""
VENUE_OPEN: frozenset[OrderStatus] = frozenset(
    {
        _S.ACCEPTED,
        _S.ACCEPTED_FOR_BIDDING,
        _S.PENDING_NEW,
        _S.PENDING_REVIEW,
        _S.NEW,
        _S.HELD,
        _S.PARTIALLY_FILLED,
        _S.DONE_FOR_DAY,
        _S.PENDING_CANCEL,
        _S.PENDING_REPLACE,
        _S.STOPPED,
        _S.SUSPENDED,
        _S.CALCULATED,
    }
)
"""The venue has it, and it may still trade."""
VENUE_CLOSED: frozenset[OrderStatus] = frozenset({_S.FILLED, _S.CANCELED, _S.EXPIRED, _S.REJECTED, _S.REPLACED})
"""Closed by the venue's word: nothing reopens it."""
INFERRED_CLOSED: frozenset[OrderStatus] = frozenset({_S.NEVER_SENT})
"""Closed by our own inference: the venue's evidence reopens it."""

OPEN: frozenset[OrderStatus] = IN_FLIGHT | VENUE_OPEN
CLOSED: frozenset[OrderStatus] = VENUE_CLOSED | INFERRED_CLOSED
VENUE_WORDS: frozenset[OrderStatus] = VENUE_OPEN | VENUE_CLOSED
"""The statuses that are a venue's words; the others are ours and mean nothing in a venue's mouth."""
ARRIVING: frozenset[OrderStatus] = frozenset(
    {_S.ACCEPTED, _S.ACCEPTED_FOR_BIDDING, _S.PENDING_NEW, _S.PENDING_REVIEW, _S.HELD}
)
"""On its way to the book. An order arrives once: after any later word these are old news."""

WORD_EVENT: Mapping[OrderStatus, OrderEvent] = {
    **{status: OrderEvent(status.value) for status in OrderStatus if status in VENUE_WORDS},
    OrderStatus.UNKNOWN: OrderEvent.UNRECOGNISED,
}
"""The event that a venue's word is."""


def _words(*events: OrderEvent) -> dict[OrderEvent, OrderStatus]:
    """The venue's words each lead to the state of the same name."""
    return {event: OrderStatus(event.value) for event in events}


def _stay(status: OrderStatus, *events: OrderEvent) -> dict[OrderEvent, OrderStatus]:
    """Events that are legal and change nothing."""
    return dict.fromkeys(events, status)


_ANY_WORD = tuple(WORD_EVENT[status] for status in OrderStatus if status in VENUE_WORDS)
_CLOSING = (_E.FILLED, _E.CANCELED, _E.EXPIRED, _E.REJECTED)
_BOOK = (
    _E.PARTIALLY_FILLED,
    _E.DONE_FOR_DAY,
    _E.PENDING_CANCEL,
    _E.PENDING_REPLACE,
    _E.STOPPED,
    _E.SUSPENDED,
    _E.CALCULATED,
    *_CLOSING,
)
# The stream is often faster than the answer to our own request: by the time that a time-out, a restart or even an
# error answer is reported, the venue's own word may have arrived. The order itself is the better witness.
_LATE_ANSWERS = (_E.SUBMIT_UNKNOWN, _E.REFUSED, _E.RESTARTED)
# After the venue's closing word an execution is counted, and an unknown word is old news; neither reopens.
_AFTERMATH = (*_LATE_ANSWERS, _E.EXECUTION, _E.LAST_EXECUTION, _E.UNRECOGNISED)

_FIRST_FILLS = {_E.EXECUTION: _S.PARTIALLY_FILLED, _E.LAST_EXECUTION: _S.FILLED}
# The weakest word that says "it exists": whatever the unknown word meant, never_sent is out of the question from here.
_EXISTS = {_E.UNRECOGNISED: _S.ACCEPTED}


def _resting(status: OrderStatus, *words: OrderEvent) -> dict[OrderEvent, OrderStatus]:
    """A row of an order that is at the venue: these words, fills, and late answers, which change nothing."""
    return _words(*words) | _FIRST_FILLS | _stay(status, _E.UNRECOGNISED, *_LATE_ANSWERS)


def _busy(status: OrderStatus, *words: OrderEvent) -> dict[OrderEvent, OrderStatus]:
    """As ``_resting``, in a state that a partial fill does not end (a cancel in flight stays in flight)."""
    return _resting(status, *words) | {_E.EXECUTION: status}


TRANSITIONS: Mapping[OrderStatus, Mapping[OrderEvent, OrderStatus]] = {
    # --- In flight. -------------------------------------------------------------------------------------------------
    _S.CREATED: {
        _E.SUBMIT: _S.SUBMITTED,
        _E.SUBMIT_UNKNOWN: _S.UNKNOWN,
        _E.SUBMIT_DROPPED: _S.NEVER_SENT,
        _E.REFUSED: _S.REJECTED,
        # The intent was durable before the request could leave: after a restart nobody knows whether it did.
        _E.RESTARTED: _S.UNKNOWN,
        **_words(*_ANY_WORD),
        **_FIRST_FILLS,
        **_EXISTS,
    },
    _S.SUBMITTED: {
        _E.SUBMIT_UNKNOWN: _S.UNKNOWN,
        _E.SUBMIT_DROPPED: _S.NEVER_SENT,
        _E.REFUSED: _S.REJECTED,
        _E.RESTARTED: _S.UNKNOWN,
        # Every word, at once: a market order may be filled, and said to be, before its submit is answered.
        **_words(*_ANY_WORD),
        **_FIRST_FILLS,
        **_EXISTS,
    },
    _S.UNKNOWN: {
        # No NEW without evidence, no REJECTED without an answer; NEVER_SENT is the caller's, with its evidence.
        _E.NEVER_SENT: _S.NEVER_SENT,
        _E.SUBMIT_DROPPED: _S.NEVER_SENT,
        _E.REFUSED: _S.REJECTED,
        **_stay(_S.UNKNOWN, _E.SUBMIT_UNKNOWN, _E.RESTARTED),
        **_words(*_ANY_WORD),
        **_FIRST_FILLS,
        **_EXISTS,
    },
    # --- At the venue, on the way to the book. ----------------------------------------------------------------------
    _S.ACCEPTED: _resting(
        _S.ACCEPTED, _E.PENDING_NEW, _E.NEW, _E.ACCEPTED_FOR_BIDDING, _E.PENDING_REVIEW, _E.HELD, *_BOOK
    ),
    _S.ACCEPTED_FOR_BIDDING: _resting(_S.ACCEPTED_FOR_BIDDING, _E.ACCEPTED, _E.PENDING_NEW, _E.NEW, *_BOOK),
    _S.PENDING_NEW: _resting(_S.PENDING_NEW, _E.ACCEPTED, _E.NEW, *_BOOK),
    _S.PENDING_REVIEW: _resting(_S.PENDING_REVIEW, _E.ACCEPTED, _E.PENDING_NEW, _E.NEW, *_BOOK),
    _S.HELD: _resting(_S.HELD, _E.ACCEPTED, _E.PENDING_NEW, _E.NEW, _E.PENDING_CANCEL, *_CLOSING, _E.REPLACED),
    # --- On the book. -----------------------------------------------------------------------------------------------
    _S.NEW: _resting(_S.NEW, *_BOOK, _E.REPLACED),
    _S.PARTIALLY_FILLED: _resting(_S.PARTIALLY_FILLED, *_BOOK, _E.REPLACED),
    # It may resume in the next session.
    _S.DONE_FOR_DAY: _busy(_S.DONE_FOR_DAY, _E.NEW, _E.PARTIALLY_FILLED, _E.PENDING_CANCEL, *_CLOSING),
    # A cancel is a request. Until the venue's word it may still fill, or the cancel is refused and it is back.
    _S.PENDING_CANCEL: _busy(_S.PENDING_CANCEL, _E.NEW, _E.PARTIALLY_FILLED, *_CLOSING, _E.REPLACED),
    _S.PENDING_REPLACE: _busy(
        _S.PENDING_REPLACE, _E.NEW, _E.PARTIALLY_FILLED, _E.PENDING_CANCEL, *_CLOSING, _E.REPLACED
    ),
    _S.STOPPED: _busy(_S.STOPPED, _E.NEW, _E.PARTIALLY_FILLED, _E.PENDING_CANCEL, *_CLOSING),
    _S.SUSPENDED: _busy(_S.SUSPENDED, _E.NEW, _E.PARTIALLY_FILLED, _E.PENDING_CANCEL, *_CLOSING),
    _S.CALCULATED: _busy(_S.CALCULATED, _E.NEW, _E.PARTIALLY_FILLED, _E.PENDING_CANCEL, *_CLOSING),
    # --- Closed by the venue. No row leaves: fill after cancel, late fill, stale word, late answer: all stay. ---------
    _S.FILLED: _words(_E.FILLED) | _stay(_S.FILLED, *_AFTERMATH),
    _S.CANCELED: _words(_E.CANCELED) | _stay(_S.CANCELED, *_AFTERMATH),
    _S.EXPIRED: _words(_E.EXPIRED) | _stay(_S.EXPIRED, *_AFTERMATH),
    _S.REJECTED: _words(_E.REJECTED) | _stay(_S.REJECTED, *_AFTERMATH),
    _S.REPLACED: _words(_E.REPLACED) | _stay(_S.REPLACED, *_AFTERMATH),
    # --- Closed by us. We inferred it, so the venue's evidence reopens it, whatever it is. --------------------------
    _S.NEVER_SENT: {
        _E.REFUSED: _S.REJECTED,
        **_stay(_S.NEVER_SENT, _E.NEVER_SENT, _E.SUBMIT_UNKNOWN, _E.SUBMIT_DROPPED, _E.RESTARTED),
        **_words(*_ANY_WORD),
        **_FIRST_FILLS,
        **_EXISTS,
    },
}


def next_status(status: OrderStatus, event: OrderEvent) -> OrderStatus:
    """The state after an event: one lookup.

    Raises:
        IllegalTransitionError: The table has no such move; the message names state and event.
    """
    try:
        return TRANSITIONS[status][event]
    except KeyError:
        raise IllegalTransitionError(status, event) from None


def apply_venue(status: OrderStatus, word: OrderStatus, *, lowers_filled: bool = False) -> OrderStatus:
    """The state after a venue's word, tolerantly: words can be skipped, and old ones can come again.

    The rules, first match wins:

    =====================================================  =========================
    closed by the venue                                    stays
    the word is not one that we know                       exists (ACCEPTED) if we doubted that, else stays
    a closing word                                         accepted: nothing follows it, so it is never old news
    an open word with a lower filled quantity than known   old news: stays
    an arriving word after the order had arrived           old news: stays
    any other word                                         accepted
    =====================================================  =========================

    Args:
        status: Where the order is now.
        word: The venue's status; ``OrderStatus.UNKNOWN`` (or any of our own) for a word that we do not know.
        lowers_filled: True where the report that carries the word has a filled quantity below what we know already.

    Returns:
        The new status. It is ``status`` itself where the word is ignored.
    """
    if status in VENUE_CLOSED:
        return status
    if word in VENUE_CLOSED:
        return word
    arrived = status in VENUE_OPEN
    if word not in VENUE_OPEN:
        return status if arrived else OrderStatus.ACCEPTED
    if lowers_filled or (arrived and word in ARRIVING and status not in ARRIVING):
        return status
    return word


class OrderStateMachine:
    """The table as an object, for one order at a time.

    Args:
        status: Where the order is.
    """

    __slots__ = ("status",)

    def __init__(self, status: OrderStatus = OrderStatus.CREATED) -> None:
        self.status = status

    def can(self, event: OrderEvent) -> bool:
        """Whether the table has a move for the event."""
        return event in TRANSITIONS[self.status]

    def apply(self, event: OrderEvent) -> OrderStatus:
        """Move, and return the new status.

        Raises:
            IllegalTransitionError: The table has no such move; the status is unchanged.
        """
        self.status = next_status(self.status, event)
        return self.status

    def apply_venue(self, word: OrderStatus, *, lowers_filled: bool = False) -> OrderStatus:
        """Take a venue's word by the tolerant rule, and return the new status."""
        self.status = apply_venue(self.status, word, lowers_filled=lowers_filled)
        return self.status

    @property
    def is_open(self) -> bool:
        """True unless it is closed; an order that nobody has heard of yet is open too."""
        return self.status in OPEN


def render_markdown() -> str:
    """The table as Markdown, one row a state: where it can go, and what it takes without moving."""
    lines = ["| state | kind | moves (event → state) | stays on |", "| --- | --- | --- | --- |"]
    for status, row in TRANSITIONS.items():
        moves = [_arrow(event, target) for event, target in row.items() if target is not status]
        stays = [f"`{event.value}`" for event, target in row.items() if target is status]
        lines.append(f"| `{status.value}` | {_kind(status)} | {', '.join(moves) or '-'} | {', '.join(stays) or '-'} |")
    return "\n".join(lines) + "\n"


def render_mermaid() -> str:
    """The table as a Mermaid state diagram: one arrow for each pair of states, events that stay left out."""
    lines = ["stateDiagram-v2", f"    [*] --> {OrderStatus.CREATED.value}"]
    for status, row in TRANSITIONS.items():
        events_to: dict[OrderStatus, list[str]] = {}
        for event, target in row.items():
            if target is not status:
                events_to.setdefault(target, []).append(event.value)
        for target, events in events_to.items():
            lines.append(f"    {status.value} --> {target.value}: {', '.join(events)}")
    lines.extend(f"    {status.value} --> [*]" for status in OrderStatus if status in VENUE_CLOSED)
    return "\n".join(lines) + "\n"


def _arrow(event: OrderEvent, target: OrderStatus) -> str:
    if event.value == target.value:
        return f"`{event.value}`"
    return f"`{event.value}` → `{target.value}`"


def _kind(status: OrderStatus) -> str:
    if status in IN_FLIGHT:
        return "in flight"
    if status in VENUE_OPEN:
        return "open"
    return "closed by the venue" if status in VENUE_CLOSED else "closed by inference"
