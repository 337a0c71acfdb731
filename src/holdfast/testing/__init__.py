"""Shipped fakes: a whole bot in one process, with a venue that answers as scripted and a journal that can fail.

Nothing here waits for a wall clock or opens a socket. Use it to test a strategy under faults that a
real venue shows once a year:

    bot = InProcessBot(lambda: [MyStrategy(["SPY"])])
    await bot.start()
    bot.broker.script("place", time_out_after)      # the venue has the order; we are not told
    await bot.play(bar)
    await bot.advance(seconds=10)                   # look-ups find it
    assert written_behind(bot.broker.requests) == []
"""

from holdfast.testing.admin import VenueAdmin
from holdfast.testing.alerts import Alert, RecordingAlerts
from holdfast.testing.answers import (
    Answer,
    Call,
    Held,
    carry_out,
    cut_off,
    never_left,
    not_found,
    refuse,
    time_out_after,
    time_out_before,
)
from holdfast.testing.bot import InProcessBot, make_engine, make_kernel
from holdfast.testing.broker import ScriptedBroker
from holdfast.testing.broker_conformance import BrokerConformance, BrokerDesk
from holdfast.testing.checks import SqliteWitness, journaled_intents, sent_twice, unaccounted, written_behind
from holdfast.testing.journal import FaultyJournal
from holdfast.testing.journal_conformance import JournalConformance
from holdfast.testing.streams import FakeOrderStream

__all__ = [
    "Alert",
    "Answer",
    "BrokerConformance",
    "BrokerDesk",
    "Call",
    "FakeOrderStream",
    "FaultyJournal",
    "Held",
    "InProcessBot",
    "JournalConformance",
    "RecordingAlerts",
    "ScriptedBroker",
    "SqliteWitness",
    "VenueAdmin",
    "carry_out",
    "cut_off",
    "journaled_intents",
    "make_engine",
    "make_kernel",
    "never_left",
    "not_found",
    "refuse",
    "sent_twice",
    "time_out_after",
    "time_out_before",
    "unaccounted",
    "written_behind",
]
