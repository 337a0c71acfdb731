"""What can go wrong, in one table, and the dice.

Every kind belongs to a place, and each run chooses by its seed which kinds occur at all and how often ("swarm"
testing: a run in which everything fails all the time never gets anywhere, and finds less).
"""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple, get_args

from holdfast.testing.sim.chance import Chance

Place = Literal["request", "answer", "listing", "position", "lookup", "socket", "frame", "disk", "weather"]


class Fault(NamedTuple):
    """One kind.

    Attributes:
        place: Where it strikes.
        rate: The highest chance with which it strikes at one opportunity.
        sentence: What happens.
    """

    place: Place
    rate: float
    sentence: str


# fmt: off
FAULTS: dict[str, Fault] = {
    # a request on its way to the venue: it is not carried out, or not yet
    "refused":          Fault("request", 0.04, "the connection is refused: nothing has left"),
    "lost":             Fault("request", 0.05, "the request is lost on its way; the client runs into its time-out"),
    "cut_before":       Fault("request", 0.04, "the connection is cut before the venue has seen the request"),
    "late":             Fault("request", 0.04, "the request arrives after the client's time-out, and is carried out"),
    "gateway_before":   Fault("request", 0.03, "a gateway answers 500 with a page of HTML; the venue sees nothing"),
    "limit_headers":    Fault("request", 0.03, "429 that says when to come back; not carried out"),
    "limit_bare":       Fault("request", 0.03, "429 without a word; not carried out"),
    "twice":            Fault("request", 0.03, "a proxy sends the request twice, and hands back the second answer (not a 429 for what was done)"),
    # the answer on its way back: it was carried out
    "answer_lost":      Fault("answer", 0.05, "the answer is lost; the client runs into its time-out"),
    "cut_after":        Fault("answer", 0.04, "the connection is cut after the venue has carried it out"),
    "gateway_after":    Fault("answer", 0.03, "a gateway answers 504 with a page of HTML for what was carried out"),
    "malformed_answer": Fault("answer", 0.03, "the answer's JSON is cut off"),
    "error_though_done": Fault("answer", 0.03, "an error with a code that nobody knows, although an order was placed, replaced or cancelled"),
    "unknown_word":     Fault("answer", 0.03, "one order of a list has a status, and a member, that nobody knows"),
    "slow":             Fault("answer", 0.06, "the answer takes up to nine seconds"),
    # the venue's own views, which agree only after some seconds
    "listed_late":      Fault("listing", 0.30, "the list of executions leaves out those of the last seconds"),
    "position_late":    Fault("position", 0.30, "the list of positions is that of some seconds ago"),
    "found_late":       Fault("lookup", 0.30, "a look-up does not find an order of the last seconds"),
    # a WebSocket
    "socket_refused":   Fault("socket", 0.20, "the socket cannot be opened"),
    "socket_too_many":  Fault("socket", 0.10, "the upgrade is answered with 429"),
    "socket_cut":       Fault("frame", 0.004, "the socket is cut"),
    "socket_half_open": Fault("frame", 0.002, "the socket is dead, and both sides learn of it much later"),
    "socket_mute":      Fault("frame", 0.002, "the socket answers pings and delivers nothing more"),
    "frame_lost":       Fault("frame", 0.02, "one message is missing"),
    "frame_twice":      Fault("frame", 0.03, "one message comes twice"),
    "frame_swapped":    Fault("frame", 0.03, "one message is overtaken by the next"),
    "frame_late":       Fault("frame", 0.02, "one message comes up to twenty seconds late"),
    "frame_unknown":    Fault("frame", 0.02, "one message is of a kind that nobody knows, and its order in a state that nobody knows"),
    "frame_malformed":  Fault("frame", 0.01, "one message is cut off"),
    # the disk under the journal
    "disk_slow":        Fault("disk", 0.03, "a sync takes up to eight seconds"),
    "disk_full":        Fault("disk", 0.003, "a sync fails, for the disk is full"),
    # the rest
    "clock_ahead":      Fault("weather", 0.0, "the wall clock steps ahead by up to a minute"),
    "clock_back":       Fault("weather", 0.0, "the wall clock steps back by up to ten seconds"),
    "network_stall":    Fault("weather", 0.0, "for up to twelve seconds nothing passes in either direction"),
    "stop":             Fault("weather", 0.0, "the bot is stopped as by Ctrl-C, and started again"),
    "halt":             Fault("weather", 0.0, "an operator halts trading, or lets it reduce only, and resumes it later"),
    "operator":         Fault("weather", 0.0, "an operator sends an order of their own through the guards"),
    "crash":            Fault("weather", 0.0, "the bot is gone, with all that was not synced"),
    "venue_restart":    Fault("weather", 0.0, "the venue is killed, and starts again from its book"),
}
# fmt: on

_AT: dict[Place, tuple[str, ...]] = {
    place: tuple(name for name, fault in FAULTS.items() if fault.place == place) for place in get_args(Place)
}
# A kind is left out of a run with this chance.
_LEFT_OUT = 0.45


class Faults:
    """The dice of one run.

    Args:
        chance: Decides.
        rates: The chance of each kind at one opportunity; kinds left out never happen.

    Attributes:
        active: False from the moment at which faults stop.
        counts: How often each kind struck.
    """

    def __init__(self, chance: Chance, rates: dict[str, float]) -> None:
        self._chance = chance
        self.rates = rates
        self.active = True
        self.counts: Counter[str] = Counter()

    def draw(self, place: Place) -> str | None:
        """The kind that strikes at this opportunity, if any does."""
        if not self.active:
            return None
        roll = self._chance.random()
        for name in _AT[place]:
            roll -= self.rates.get(name, 0.0)
            if roll < 0:
                self.counts[name] += 1
                return name
        return None

    def struck(self, name: str) -> None:
        """Count what was scheduled rather than drawn."""
        self.counts[name] += 1

    def between(self, low: float, high: float) -> float:
        """A number from a range."""
        return self._chance.uniform(low, high)

    def pick(self, count: int) -> int:
        """A whole number below ``count``."""
        return self._chance.randrange(count)


def swarm(chance: Chance, intensity: float) -> dict[str, float]:
    """The rates of one run: some kinds are left out, the others have a share of their highest rate."""
    return {
        name: fault.rate * intensity * chance.uniform(0.1, 1.0)
        for name, fault in FAULTS.items()
        if chance.random() >= _LEFT_OUT
    }
