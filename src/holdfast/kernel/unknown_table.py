"""What to do when nobody knows what became of a request, as one decision table.

The problem: a request can end in a dozen ways that are no answer, and each place that handles one of them is tempted
to decide by itself. One such place that reads a time-out as "no" is enough to buy twice; one that reads "not found"
as "cancelled" is enough to leave an order alone at the venue.

So the decisions are data, in the style of TigerBeetle's recovery cases: every row has a label, cells for the facts
that it asks (a cell that is ``None`` does not ask), what follows, and the reasons. The first column group is what
happened, the second what our books and our clock say; exactly one row fits each combination, and a test walks them
all. ``holdfast.kernel.unknowns`` carries the rows out; docs/UNKNOWN.md is made from them.

Legend:

    request     what was asked of the venue
    outcomes    how it ended (``holdfast.model.enums.Outcome``)
    standing    what our books say of the order: nothing heard of it, at the venue, closed
    stream_up   the order stream is connected
    waited      it has been connected for the grace period since the outcome became unknown; while it is down that
                clock stands still
    compared    a comparison of orders, asked for after the grace period, does not show the order
    ended       it was to replace an order that has ended otherwise, by the venue's word: nothing can take its place any more
    trigger     what happens to the order in the table of its states; most often nothing
    asks        what is asked at once
    again       the schedule by which it is asked again until it is settled

While a row applies, the guards count the order as filled in whole, in the direction that is worse, until its standing
is "closed"; that is the same in every row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import product

import msgspec

from holdfast.kernel.settings import KernelSettings
from holdfast.model.enums import Outcome
from holdfast.model.errors import InvariantError
from holdfast.state.order_machine import OrderEvent


class Request(StrEnum):
    """What was asked of the venue."""

    SUBMIT = "submit"
    CANCEL = "cancel"
    LOOKUP = "look-up"
    REPLACE = "replace"


class Standing(StrEnum):
    """What our books say of the order."""

    UNHEARD = "nothing heard of it"
    AT_VENUE = "at the venue"
    CLOSED = "closed"


class Ask(StrEnum):
    """A question to the venue, or a request that may come twice."""

    LOOKUP = "look-up by `client_order_id`"
    OLD = "look-up of the order to be replaced"
    COMPARE = "comparison of orders, executions, positions and cash"
    CANCEL = "the cancel once more"
    ACCOUNT = "the account"


class Again(StrEnum):
    """A schedule: when it is asked again."""

    NO = "no"
    LOOKUP = "look-up"
    CANCEL = "cancel"
    SLOWLY = "slowly"


class Schedule(msgspec.Struct, frozen=True):
    """Growing intervals with a bound, as names of ``KernelSettings``: each is twice the one before it.

    Attributes:
        first: The first interval.
        most: The longest.
        alert_after: People are told when it is still not settled after this long.
    """

    first: str
    most: str
    alert_after: str

    def delay(self, settings: KernelSettings, asked: int) -> int:
        """How long to wait (ns) after having asked that many times in a row."""
        first: int = getattr(settings, self.first)
        most: int = getattr(settings, self.most)
        return min(first << min(asked, 32), max(most, first))

    def patience(self, settings: KernelSettings) -> int:
        """After how long (ns) people are told."""
        patience: int = getattr(settings, self.alert_after)
        return patience


SCHEDULES: Mapping[Again, Schedule] = {
    Again.LOOKUP: Schedule("lookup_interval", "lookup_interval_most", "unknown_alert_after"),
    Again.CANCEL: Schedule("cancel_timeout", "cancel_interval_most", "cancel_alert_after"),
    Again.SLOWLY: Schedule("open_order_interval", "open_order_interval", "unknown_alert_after"),
}


class Facts(msgspec.Struct, frozen=True):
    """What our books and our clock say when a request has ended."""

    standing: Standing
    stream_up: bool
    waited: bool
    compared: bool
    ended: bool


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One row. See the legend above.

    Attributes:
        outcomes: ``None`` stands for all that no other row of the request and standing names.
        known: What is known.
        settles: The evidence that settles it.
        why: The reasons, in a sentence or two.
        arrived: The venue has it, whatever a look-up says: "not found" never settles it.
        alert: What people are told; empty where it is everyday.
    """

    label: str
    request: Request
    outcomes: tuple[Outcome, ...]
    standing: tuple[Standing, ...]
    known: str
    settles: str
    why: str
    stream_up: bool | None = None
    waited: bool | None = None
    compared: bool | None = None
    ended: bool | None = None
    trigger: OrderEvent | None = None
    asks: tuple[Ask, ...] = ()
    again: Again = Again.NO
    arrived: bool = False
    alert: str = ""

    def fits(self, request: Request, outcome: Outcome, facts: Facts) -> bool:
        """Whether this row speaks of the combination."""
        return (
            request is self.request
            and outcome in self.outcomes
            and facts.standing in self.standing
            and self.stream_up in (None, facts.stream_up)
            and self.waited in (None, facts.waited)
            and self.compared in (None, facts.compared)
            and self.ended in (None, facts.ended)
        )


_O, _E = Outcome, OrderEvent
_UNHEARD = (Standing.UNHEARD,)
_AT_VENUE = (Standing.AT_VENUE,)
_CLOSED = (Standing.CLOSED,)
_OPEN = (Standing.UNHEARD, Standing.AT_VENUE)
_EVERY = tuple(Outcome)


def _but(*outcomes: Outcome) -> tuple[Outcome, ...]:
    return tuple(outcome for outcome in Outcome if outcome not in outcomes)


_THE_ORDER = "the order itself: a look-up, the stream, an execution, a list of orders; or a look-up by case L8"
_THE_NEW_ORDER = "the new order itself, under its own id; or a look-up of it by case L8, and the old order lives on"
_LOOK = "outcome of an order unknown: looking it up"


def _lost(label: str, outcome: Outcome, known: str, why: str) -> Case:
    """A submit that ended without a verdict: unknown, and looked up."""
    return Case(
        label=label,
        request=Request.SUBMIT,
        outcomes=(outcome,),
        standing=_UNHEARD,
        known=known,
        trigger=_E.SUBMIT_UNKNOWN,
        asks=(Ask.LOOKUP,),
        again=Again.LOOKUP,
        settles=_THE_ORDER,
        alert=_LOOK,
        why=why,
    )


def _replace_lost(label: str, outcome: Outcome, known: str, why: str, *asks: Ask) -> Case:
    """A replace that ended without a verdict: the new order is unknown, and looked up; the old one is open as before."""
    return Case(
        label=label,
        request=Request.REPLACE,
        outcomes=(outcome,),
        standing=_UNHEARD,
        known=known,
        trigger=_E.SUBMIT_UNKNOWN,
        asks=(*asks, Ask.LOOKUP),
        again=Again.LOOKUP,
        settles=_THE_NEW_ORDER,
        alert=_LOOK,
        why=why,
    )


# What a look-up, or a cancel, may fail of: it says nothing of the order.
_NO_WORD = _but(_O.FOUND, _O.DIFFERS, _O.NOT_FOUND)
_CANCEL_NOT_DONE = (_O.NOT_SENT, _O.RATE_LIMITED)
_CANCEL_REFUSED = (_O.REFUSED, _O.NOT_FOUND)
_CANCEL_PENDING = (_O.SILENT, _O.RESTARTED)
_ODD = (_O.NOT_FOUND, _O.FOUND, _O.DIFFERS, _O.SILENT)

CASES: tuple[Case, ...] = (
    # --- Submit. ----------------------------------------------------------------------------------------------------
    Case(
        label="S1",
        request=Request.SUBMIT,
        outcomes=(_O.NOT_SENT,),
        standing=_UNHEARD,
        known="nothing left this process",
        trigger=_E.SUBMIT_DROPPED,
        settles="our own process, which did not send it",
        alert="order dropped before it was sent",
        why="A time-out before the first byte left (no connection, its deadline passed, trading halted) is the one "
        "failure that is certain without asking. The order is closed as never sent.",
    ),
    Case(
        label="S2",
        request=Request.SUBMIT,
        outcomes=(_O.REFUSED,),
        standing=_UNHEARD,
        known="the venue refused it",
        trigger=_E.REFUSED,
        asks=(Ask.ACCOUNT,),
        settles="the venue's answer, which is in the list of definite refusals",
        alert="order refused by the venue",
        why="Only answers whose status and code are listed are refusals (`holdfast.brokers.alpaca_errors.REFUSALS`). An "
        "error answer has been seen although the order was placed, so the venue's own word on the order still reopens it, "
        "with an alert.",
    ),
    Case(
        label="S3",
        request=Request.SUBMIT,
        outcomes=(_O.RATE_LIMITED,),
        standing=_UNHEARD,
        known="it was not executed, with or without the rate limit's headers",
        trigger=_E.REFUSED,
        asks=(Ask.ACCOUNT,),
        settles="the venue's answer: 429 is documented as not executed",
        alert="order refused by the venue",
        why="A definite no. It is not sent again by us: the strategy hears of it and may decide anew, at today's price.",
    ),
    Case(
        label="S4",
        request=Request.SUBMIT,
        outcomes=(_O.ID_TAKEN,),
        standing=_UNHEARD,
        known="it arrived: an order with its id exists",
        trigger=_E.SUBMIT_UNKNOWN,
        asks=(Ask.LOOKUP,),
        again=Again.LOOKUP,
        arrived=True,
        settles="the order itself, if symbol, side, quantity, type, prices and time in force are ours; if not, case L2",
        alert=_LOOK,
        why='"client_order_id must be unique" is the opposite of a rejection: somebody on the way sent it twice, and '
        "the first copy is live. So not even many look-ups that find nothing make it never sent.",
    ),
    _lost(
        "S5",
        _O.NO_ANSWER,
        "it may or may not have arrived",
        "A time-out is no verdict. Nothing is sent again: the id is asked for until there is evidence.",
    ),
    _lost("S6", _O.CUT, "it may or may not have arrived", "The connection ended with the answer on it, or before it."),
    _lost(
        "S7",
        _O.SERVER_ERROR,
        "it may or may not have been executed",
        "A 500 may come from the middle of the work, and a gateway's 504 after the venue accepted.",
    ),
    _lost(
        "S8",
        _O.FOREIGN_ANSWER,
        "whoever answered, it was not the venue's API",
        "A page of HTML with any status is a proxy's or a firewall's; whether it passed the request on, it does not say.",
    ),
    _lost(
        "S9",
        _O.MALFORMED,
        "the venue said yes in words that cannot be read, or spoke of another order",
        "Success with an unreadable body most likely means that the order is live; the look-up reads it again.",
    ),
    _lost(
        "S10",
        _O.UNLISTED,
        "the venue gave an error that is not in the list of definite refusals",
        "An error that nobody has studied is no refusal: it is unknown, never success and never a rejection.",
    ),
    Case(
        label="S11",
        request=Request.SUBMIT,
        outcomes=(_O.RESTARTED,),
        standing=_UNHEARD,
        known="the intent was durable before anything could leave; whether it left died with the process",
        trigger=_E.RESTARTED,
        asks=(Ask.LOOKUP,),
        again=Again.LOOKUP,
        settles=_THE_ORDER,
        why="After a restart no opening intent is sent again, whatever its age: it is looked up, and adopted or closed.",
    ),
    Case(
        label="S12",
        request=Request.SUBMIT,
        outcomes=_ODD,
        standing=_UNHEARD,
        known="nothing: a submit does not end like this",
        trigger=_E.SUBMIT_UNKNOWN,
        asks=(Ask.LOOKUP,),
        again=Again.LOOKUP,
        settles=_THE_ORDER,
        alert=_LOOK,
        why="An adapter that reports what cannot be is not believed; what it says is treated as no answer.",
    ),
    Case(
        label="S13",
        request=Request.SUBMIT,
        outcomes=_EVERY,
        standing=_AT_VENUE,
        known="the venue has it: its own word, or its id, came first",
        asks=(Ask.LOOKUP,),
        settles="the order itself, which has spoken already",
        why="The stream is often faster than the answer, and the order is the better witness. A refusal that comes "
        "after the venue's word changes nothing; one look-up confirms.",
    ),
    Case(
        label="S14",
        request=Request.SUBMIT,
        outcomes=_EVERY,
        standing=_CLOSED,
        known="the order is over",
        settles="settled already",
        why="Old news. What the venue closed stays closed, and what we inferred is reopened by the order, not by an answer.",
    ),
    # --- What a look-up found. --------------------------------------------------------------------------------------
    Case(
        label="L1",
        request=Request.LOOKUP,
        outcomes=(_O.FOUND,),
        standing=tuple(Standing),
        known="the venue has the order that we meant",
        settles="this answer: the order is adopted, or a closed one is confirmed",
        why="Symbol, side, quantity, type, prices and time in force are compared with the intent first. An order that "
        "we had closed by inference is open again, and people are told.",
    ),
    Case(
        label="L2",
        request=Request.LOOKUP,
        outcomes=(_O.DIFFERS,),
        standing=tuple(Standing),
        known="another order stands under our id",
        again=Again.SLOWLY,
        settles="a person",
        why="Somebody else uses our ids, or the venue holds two orders for one intent. Nothing is adopted, trading is "
        "halted, and people are told what differs.",
    ),
    Case(
        label="L3",
        request=Request.LOOKUP,
        outcomes=(_O.NOT_FOUND,),
        standing=_CLOSED,
        known="nothing new",
        settles="settled already",
        why="An order that we closed by inference is confirmed; one that the venue closed may have left its lists.",
    ),
    Case(
        label="L4",
        request=Request.LOOKUP,
        outcomes=(_O.NOT_FOUND,),
        standing=_AT_VENUE,
        known="the venue denies an order that it had",
        again=Again.LOOKUP,
        settles="the order itself; never its absence",
        alert="the venue denies an order that it had taken",
        why="A view that lags, or a fault of the venue. An order that was once seen is never inferred away: not found "
        "is not cancelled.",
    ),
    Case(
        label="L5",
        request=Request.LOOKUP,
        outcomes=(_O.NOT_FOUND,),
        standing=_UNHEARD,
        ended=False,
        stream_up=False,
        known="nothing: what happens to it now would be streamed to nobody",
        again=Again.LOOKUP,
        settles=_THE_ORDER,
        why="Not found is evidence only beside a stream that would have told. While it is down, the clock of the grace "
        "period stands still.",
    ),
    Case(
        label="L6",
        request=Request.LOOKUP,
        outcomes=(_O.NOT_FOUND,),
        standing=_UNHEARD,
        ended=False,
        stream_up=True,
        waited=False,
        known="nothing: the request may still be on its way",
        again=Again.LOOKUP,
        settles=_THE_ORDER,
        why="Requests sit in gateways, and the venue's views lag by seconds. Within the grace period absence says nothing.",
    ),
    Case(
        label="L7",
        request=Request.LOOKUP,
        outcomes=(_O.NOT_FOUND,),
        standing=_UNHEARD,
        ended=False,
        stream_up=True,
        waited=True,
        compared=False,
        known="the stream has been silent for the grace period, and the look-up finds nothing",
        asks=(Ask.COMPARE,),
        again=Again.LOOKUP,
        settles=_THE_ORDER,
        why="One view is not enough to close an order: another one, the list of orders, is asked for now.",
    ),
    Case(
        label="L8",
        request=Request.LOOKUP,
        outcomes=(_O.NOT_FOUND,),
        standing=_UNHEARD,
        ended=False,
        stream_up=True,
        waited=True,
        compared=True,
        known="look-up, stream and list of orders agree: the venue does not have it",
        trigger=_E.NEVER_SENT,
        settles="these three together; the record says how long, how often and what was asked",
        why="Closed as never sent. It is our inference all the same, so the venue's evidence reopens it, with an alert.",
    ),
    Case(
        label="L11",
        request=Request.LOOKUP,
        outcomes=(_O.NOT_FOUND,),
        standing=_UNHEARD,
        ended=True,
        known="the order that it was to replace is filled, canceled, expired or rejected: it was not replaced, and never will be",
        trigger=_E.NEVER_SENT,
        settles="the venue's closing word on the old order, and this look-up",
        why="An order ends once. Whatever became of the request, nothing can take the place of an order that ended "
        "otherwise, so there is nothing to wait for.",
    ),
    Case(
        label="L9",
        request=Request.LOOKUP,
        outcomes=_NO_WORD,
        standing=_OPEN,
        known="nothing was learned",
        again=Again.LOOKUP,
        settles=_THE_ORDER,
        why="No answer to the question about the missing answer: ask again, for as long as it takes.",
    ),
    Case(
        label="L10",
        request=Request.LOOKUP,
        outcomes=_NO_WORD,
        standing=_CLOSED,
        known="nothing was learned",
        settles="settled already",
        why="Nobody needs the answer any more.",
    ),
    # --- Cancel. ----------------------------------------------------------------------------------------------------
    Case(
        label="C1",
        request=Request.CANCEL,
        outcomes=_CANCEL_REFUSED,
        standing=_OPEN,
        known="it cannot be cancelled now: filled already, or not known there",
        asks=(Ask.LOOKUP,),
        again=Again.CANCEL,
        settles="the order itself: filled, canceled, expired, rejected or replaced",
        why='\'order is already in "filled" state\' and "order not found" end in a look-up, never in a conclusion: '
        "not found is not cancelled.",
    ),
    Case(
        label="C2",
        request=Request.CANCEL,
        outcomes=_CANCEL_NOT_DONE,
        standing=_OPEN,
        known="the cancel was not executed",
        asks=(Ask.LOOKUP,),
        again=Again.CANCEL,
        settles="the order itself",
        why="The order rests on. The cancel is asked for again by the schedule, as soon as the rate limit has room.",
    ),
    Case(
        label="C3",
        request=Request.CANCEL,
        outcomes=_CANCEL_PENDING,
        standing=_OPEN,
        known="the venue may have taken the cancel; its word on the order has not come",
        asks=(Ask.LOOKUP, Ask.CANCEL),
        again=Again.CANCEL,
        settles="the order itself; never the passing of time",
        why="A 204 is a request taken, and an order can stay in pending_cancel for hours. It may still fill, so it is "
        "asked again, people are told after a while, and it is never taken for cancelled.",
    ),
    Case(
        label="C4",
        request=Request.CANCEL,
        outcomes=_but(*_CANCEL_REFUSED, *_CANCEL_NOT_DONE, *_CANCEL_PENDING),
        standing=_OPEN,
        known="it may or may not have been cancelled",
        asks=(Ask.LOOKUP,),
        again=Again.CANCEL,
        settles="the order itself",
        why="A cancel may come twice without harm, so it is looked up at once and asked for again by the schedule.",
    ),
    Case(
        label="C5",
        request=Request.CANCEL,
        outcomes=_EVERY,
        standing=_CLOSED,
        known="the order is over",
        settles="settled already",
        why="There is nothing left to cancel.",
    ),
    # --- Replace. The order of the row is the new one, which has an id of its own. -------------------------------------
    Case(
        label="R1",
        request=Request.REPLACE,
        outcomes=(_O.NOT_SENT,),
        standing=_UNHEARD,
        known="nothing left this process",
        trigger=_E.SUBMIT_DROPPED,
        settles="our own process, which did not send it",
        alert="order dropped before it was sent",
        why="The new order is closed as never sent; the old one lives on, at its old price.",
    ),
    Case(
        label="R2",
        request=Request.REPLACE,
        outcomes=(_O.REFUSED, _O.NOT_FOUND),
        standing=_UNHEARD,
        known="the venue refused it: the old order lives on, or is filled already",
        trigger=_E.REFUSED,
        asks=(Ask.LOOKUP, Ask.OLD, Ask.ACCOUNT),
        settles="the venue's answer, which is in the list of definite refusals; two look-ups confirm it",
        alert="order refused by the venue",
        why="The old order may have filled while the request was on its way: the venue's word on it says so. An error "
        "answer has been seen although the order was replaced, so both ids are looked up once, and the venue's own word "
        "on the new order reopens it, with an alert.",
    ),
    Case(
        label="R3",
        request=Request.REPLACE,
        outcomes=(_O.RATE_LIMITED,),
        standing=_UNHEARD,
        known="it was not executed, with or without the rate limit's headers",
        trigger=_E.REFUSED,
        settles="the venue's answer: 429 is documented as not executed",
        alert="order refused by the venue",
        why="A definite no: the old order lives on. It is not sent again by us: the strategy hears of it, and decides anew.",
    ),
    Case(
        label="R4",
        request=Request.REPLACE,
        outcomes=(_O.ID_TAKEN,),
        standing=_UNHEARD,
        known="it arrived: an order with the new id exists",
        trigger=_E.SUBMIT_UNKNOWN,
        asks=(Ask.LOOKUP,),
        again=Again.LOOKUP,
        arrived=True,
        settles="the new order itself, if it is the one that we meant; if not, case L2",
        alert=_LOOK,
        why="As for a submit: somebody on the way sent it twice, and the first copy did its work.",
    ),
    _replace_lost(
        "R5",
        _O.NO_ANSWER,
        "the old order may or may not have been replaced",
        "A time-out is no verdict. Nothing is sent again: the new id is asked for until there is evidence. Until then the "
        "guards count the larger of the two orders, never both.",
    ),
    _replace_lost(
        "R6",
        _O.CUT,
        "the old order may or may not have been replaced",
        "The connection ended with the answer on it, or before it.",
    ),
    _replace_lost(
        "R7",
        _O.SERVER_ERROR,
        "the old order may or may not have been replaced",
        "A 500 may come from the middle of the work, and a gateway's 504 after the venue had replaced it.",
    ),
    _replace_lost(
        "R8",
        _O.FOREIGN_ANSWER,
        "whoever answered, it was not the venue's API",
        "A proxy's page does not say whether the request was passed on.",
    ),
    _replace_lost(
        "R9",
        _O.MALFORMED,
        "the venue said yes in words that cannot be read, or spoke of another order",
        "Success with an unreadable body most likely means that the order was replaced; the look-up reads it again.",
    ),
    _replace_lost(
        "R10",
        _O.UNLISTED,
        "the venue gave an error that is not in the list of definite refusals",
        "An error has been seen although the order was replaced. One that nobody has studied is no refusal, and neither is "
        '"order is not open": the old order may be filled, or replaced by a first copy of this very request. Case L11 '
        "settles it as soon as the venue's word on the old order is there.",
        Ask.OLD,
    ),
    Case(
        label="R11",
        request=Request.REPLACE,
        outcomes=(_O.RESTARTED,),
        standing=_UNHEARD,
        known="the intent was durable before anything could leave; whether it left died with the process",
        trigger=_E.RESTARTED,
        asks=(Ask.LOOKUP,),
        again=Again.LOOKUP,
        settles=_THE_NEW_ORDER,
        why="After a restart no replacement is sent again: the new id is looked up, and adopted or closed.",
    ),
    Case(
        label="R12",
        request=Request.REPLACE,
        outcomes=(_O.FOUND, _O.DIFFERS, _O.SILENT),
        standing=_UNHEARD,
        known="nothing: a replace does not end like this",
        trigger=_E.SUBMIT_UNKNOWN,
        asks=(Ask.LOOKUP,),
        again=Again.LOOKUP,
        settles=_THE_NEW_ORDER,
        alert=_LOOK,
        why="An adapter that reports what cannot be is not believed; what it says is treated as no answer.",
    ),
    Case(
        label="R13",
        request=Request.REPLACE,
        outcomes=_EVERY,
        standing=_AT_VENUE,
        known="the venue has the new order: its own word, or its id, came first",
        asks=(Ask.LOOKUP, Ask.OLD),
        settles="the two orders, which have spoken already",
        why="The stream is often faster than the answer, and the orders are the better witnesses: an error answer after "
        "the venue's word changes nothing. One look-up of each confirms.",
    ),
    Case(
        label="R14",
        request=Request.REPLACE,
        outcomes=_EVERY,
        standing=_CLOSED,
        known="the new order is over",
        settles="settled already",
        why="Old news.",
    ),
)


def decide(request: Request, outcome: Outcome, facts: Facts) -> Case:
    """The one row that fits.

    Raises:
        InvariantError: None does; a hole in the table, which its test rules out.
    """
    for case in CASES:
        if case.fits(request, outcome, facts):
            return case
    message = f"the table of unknown outcomes has no row for {request}, {outcome}, {facts}"
    raise InvariantError(message)


def combinations() -> Iterator[tuple[Request, Outcome, Facts]]:
    """Every combination that can be asked for."""
    for request, outcome, standing in product(Request, Outcome, Standing):
        for cells in product((False, True), repeat=4):
            yield request, outcome, Facts(standing, *cells)
