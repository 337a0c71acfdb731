"""Independent checkers: what must hold of a run, judged from the outside.

Each returns its complaints as sentences, an empty list where all is well, and looks only at what the
broker saw and what the journal holds: never at what the bot believes of itself, save where that is
what is judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from holdfast.journal import JournalReader, Record
from holdfast.model import OrderIntent, OrderStatus
from holdfast.model.commands import PLACING
from holdfast.state.order_tracker import OrderTracker
from holdfast.testing.answers import PLACING_METHODS, Call
from holdfast.venue.matching.engine import MatchingEngine


def journaled_intents(records: Iterable[Record]) -> dict[str, OrderIntent]:
    """Every order that a journal means to have at the venue, by client order id."""
    return {
        command.intent.client_order_id: command.intent
        for record in records
        if isinstance(record.content, tuple)
        for command in record.content
        if isinstance(command, PLACING)
    }


class SqliteWitness:
    """Tells which intents are on disk, over a connection of its own: it sees only what was committed.

    Args:
        path: The journal's file.
    """

    def __init__(self, path: Path) -> None:
        self._reader = JournalReader(path)
        self._seen = 0
        self._ids: frozenset[str] = frozenset()

    def __call__(self) -> frozenset[str]:
        """The client order ids of all durable intents."""
        records = list(self._reader.records(self._seen))
        if records:
            self._ids |= journaled_intents(records).keys()
            self._seen = records[-1].seq
        return self._ids

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()


def written_behind(requests: Iterable[Call]) -> list[str]:
    """P1: orders that left before their intent was durable."""
    return [
        f"order {call.subject} left before its intent was durable"
        for call in requests
        if call.method in PLACING_METHODS and call.left and call.subject not in call.durable
    ]


def sent_twice(requests: Iterable[Call]) -> list[str]:
    """P2: intents that left more than once, over all runs whose requests are given."""
    times = Counter(call.subject for call in requests if call.method in PLACING_METHODS and call.left)
    return [f"order {order_id} was sent {count} times" for order_id, count in times.items() if count > 1]


def unaccounted(engine: MatchingEngine, records: Iterable[Record], tracker: OrderTracker) -> list[str]:
    """P2, once nothing is unknown any more.

    Every order of ours at the venue is a journaled intent, unchanged, and known here with the venue's status; every
    other intent is closed, with its evidence, as refused or never sent.
    """
    found: list[str] = []
    intents = journaled_intents(records)
    for order in engine.orders("all", newest_first=False):
        intent = intents.get(order.client_order_id)
        if intent is None:
            found.append(f"order {order.client_order_id} at the venue is no journaled intent")
        elif (order.symbol, order.side, order.quantity) != (intent.symbol, intent.side, intent.quantity):
            found.append(f"order {order.client_order_id} at the venue is not what was meant")
    for order_id in intents:
        ours, theirs = tracker.get(order_id), engine.by_client_id(order_id)
        if theirs is not None:
            if ours is None or ours.status is not theirs.status:
                found.append(f"intent {order_id} is {theirs.status} at the venue, and held to be {ours!r}")
        elif ours is None or ours.status not in {OrderStatus.NEVER_SENT, OrderStatus.REJECTED}:
            found.append(f"intent {order_id} is not at the venue and not closed as never sent: {ours!r}")
        elif not ours.evidence:
            found.append(f"intent {order_id} is closed as {ours.status} without evidence")
    return found
