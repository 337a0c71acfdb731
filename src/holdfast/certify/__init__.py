"""``holdfast certify``: does a venue answer as the built-in one does? The same script at both, and every difference as data.

guards      what must be so before anything is asked: paper, never live; nothing of others in the way
plan        what is traded: symbol, quantity, and prices far from the market
side        one venue, asked raw: answers as they come, and the messages of its trade stream
script      what is asked, step by step
cleanup     afterwards nothing of ours is left, however the script ended
rules       what cannot be equal at two venues, in one table: ids, times, prices, what is the account's own
recording   what was said, by these rules, without anything that tells whose account it was
compare     two recordings, laid side by side
"""

from holdfast.certify.cleanup import clean_up
from holdfast.certify.compare import Difference, compare
from holdfast.certify.guards import admit
from holdfast.certify.plan import Plan, last_price, make_plan
from holdfast.certify.recording import Recording, record
from holdfast.certify.script import Run, run_script
from holdfast.certify.side import Side

__all__ = [
    "Difference",
    "Plan",
    "Recording",
    "Run",
    "Side",
    "admit",
    "clean_up",
    "compare",
    "last_price",
    "make_plan",
    "record",
    "run_script",
]
