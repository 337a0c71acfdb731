#!/usr/bin/env python3
"""Writes the pages of docs/ that are made from the code: what is generated cannot disagree with it.

Run it with the project's own Python: ``.venv/bin/python scripts/render-docs.py``. With ``--check`` it writes
nothing, and complains (exit code 1) where a page is not what it would be.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from holdfast.kernel import unknown_page
from holdfast.state import order_machine
from holdfast.testing.sim.canaries import CANARIES
from holdfast.testing.sim.checkers import AT_THE_BOUND, CHECKERS
from holdfast.testing.sim.faults import FAULTS
from holdfast.testing.sim.network import LATE_SECONDS_MAX, LISTED_LATE_SECONDS_MAX
from holdfast.testing.sim.scenario import POINTS
from holdfast.testing.sim.torture import CANARY_SEEDS
from holdfast.testing.sim.world import SETTLE_SECONDS

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"


def order_states() -> str:
    """The life of an order."""
    return f"""# The states of an order

*Made from the tables of [`holdfast.state.order_machine`](../src/holdfast/state/order_machine.py) by
`scripts/render-docs.py`: change the tables, then run the script.*

An order of ours is always in one of these states. Two kinds of event move it. Our own triggers (`submit`,
`submit_unknown`, `restarted`, ...) obey the table below to the letter: a move that is not in it is a bug and raises. The
venue's words may arrive late, twice or not at all, so they are taken tolerantly: words may be skipped, a repeated old
one changes nothing, and what the venue closed stays closed.

Three rows are worth knowing:

- **`unknown`** is where an order is whose request ended without an answer. Only evidence leads out of it; silence does not.
- **`never_sent`** is our own conclusion, recorded with the evidence for it. If the venue shows the order after all, it
  is open again, and people are told.
- **`canceled`** and the other closed states stay, also when a fill arrives afterwards. The fill is counted all the same.

## Orders that depend on each other

A bracket, an OCO or an OTO is one intent and several orders; each of them is in one of these states. The exits are held from the
moment at which the intent is, under ids that follow from its own, and share its fate (`submitted`, `unknown`, `never_sent`, refused) until the venue
names them in its description of the whole. From then on each is closed by the venue's word on itself, and by nothing else: that
the other exit has filled is a reason to ask, because the cancel of a leg may never be streamed.

## As a table

"Moves" lead to another state; what an order "stays on" is legal and changes nothing.

{order_machine.render_markdown()}
## As a diagram

```mermaid
{order_machine.render_mermaid().rstrip()}
```
"""


def unknown_outcomes() -> str:
    """What is done when nobody knows what became of a request."""
    return f"""# When nobody knows what became of a request

*Made from the table of [`holdfast.kernel.unknown_table`](../src/holdfast/kernel/unknown_table.py) by
`scripts/render-docs.py`: change the table, then run the script.*

A request to a venue can end without an answer that says what became of it. Every such end has its row here: what is
known, what becomes of the order (a word of [its table of states](ORDER-STATES.md), or nothing), what is asked at once,
when it is asked again, and which evidence settles it. Exactly one row fits each combination; a test walks them all.

Four rules stand above all rows:

- **Silence is never evidence.** No row lets the passing of time alone close an order.
- **Nothing is sent twice.** There is no row that sends an order again, in the same run or after a restart. A cancel may
  come twice.
- **An order and its replacement are one.** Until the venue's word on the old one, the guards count the larger of the
  two, never both and never neither.
- **What is not known counts as filled.** Until an order is closed, every guard counts it as filled in whole, in the
  direction that is worse: for the size of the position, the exposure, the number of open orders, the buying power,
  and for what an exit may still take. While an exit is unknown, nothing is opened in its symbol.
- **The order is the better witness.** Whatever was concluded, the venue's own word on the order (a look-up, the stream,
  an execution, a list of orders) wins. An order that we had closed by inference, or that an error answer had refused, is
  then open again, and people are told.

*The grace period* is {unknown_page.KernelSettings().lookup_grace // unknown_page.NS_PER_SECOND} seconds. Its clock runs
only while the order stream is up: beside a stream that tells nothing, "not found" says nothing.

## The table

{unknown_page.render_markdown()}
## How often

{unknown_page.render_schedules()}
A bracket, an OCO or an OTO is asked for as a whole: its exits have no id of ours at the venue, so it is looked up until it has named
them. An exit that is open here while its group has ended is looked up by the venue's id within seconds; if the venue itself shows it
open then, with nothing left to leave, it is cancelled.

An order that is known to be open and gives no reason for doubt is looked up as slowly, in case its closing word got
lost. When the order stream comes back, everything unknown is asked for at once.
"""


def testing() -> str:
    """How Holdfast is tested under faults."""
    return f"""# Testing under faults

*The tables of this page are made from [`holdfast.testing.sim`](../src/holdfast/testing/sim) by
`scripts/render-docs.py`: change the code, then run the script.*

The promises of [the architecture](ARCHITECTURE.md) speak of moments that do not come when one waits for them: the answer
that is lost after the order was taken, the power that goes between a commit and the request that it was for. So
there is a simulator in which they come all the time.

```console
$ holdfast torture --seeds 300      # exit code 0 only where nothing was violated
$ holdfast torture --seed 194       # that one run again, to the last byte
$ holdfast torture --canary         # bots that are broken on purpose: each must be caught
$ holdfast torture --strategy dip.py:Dip --seeds 50
```

## What is simulated

The whole bot (the real container, kernel, runner, outbox, throttler, connector, streams) and the whole venue (the real exchange,
matching engine and server application) run in one process, in an event loop whose time is a number: when nothing is
left to do it jumps to the next timer. Real are also the journal's rows, checksums and snapshots. Replaced are, at
their outermost edges, the network between the two, the disk under the journal, the wall clock and the dice.

One seed decides everything: prices, strategies, limits, how long each message takes, which faults there are in this run and
how often ("swarm" testing: what fails all the time never gets anywhere), when and where the bot is killed. Nothing else has a
say: not the machine, not the process's own hash of texts. Each run is written down line by line and hashed; `--seed`
shows the hash, and the same seed gives the same one, per minor version of Python and platform.

A run has two phases and an end:

1. **The storm.** For seven tenths of the market's time faults strike. Whenever the bot ends, it is started again on what was
   durable, as a service manager would.
2. **The calm.** Faults stop. Within {SETTLE_SECONDS:.0f} s nothing may be unknown, in flight or different any more (P9).
3. The bot is stopped as by Ctrl-C, started once more on its journal, and the books are laid side by side.

A kill means: the process's tasks are gone, and from that moment nothing that they still do reaches disk or network. What the
network carries already is on its way, and may arrive. It strikes at any moment, or at one of these points:
{_words(POINTS[1:])}.

What is taken for granted: a request that ran into the client's time-out is carried out within {LATE_SECONDS_MAX:.0f} s of it or never, and the
venue's views agree after {LISTED_LATE_SECONDS_MAX:.0f} s. A commit is atomic; what a torn one leaves behind is tested at the journal itself.

## Faults

| fault | where | what happens |
| --- | --- | --- |
{_rows((name, fault.place, fault.sentence) for name, fault in FAULTS.items())}

## Checkers

Each reads only what passed the network, the venue's own books, and the journal on the disk; and the bot's books where
those are what is judged. Beside them, a run of the bot may end by itself only for a reason that the simulation gave it
(`failure`), must be running at the end (`liveness`), and nothing may fail unheard (`loop`).

| checker | what must hold |
| --- | --- |
{_rows((name, _first_line(check)) for name, check in [*CHECKERS.items(), *AT_THE_BOUND.items()])}

## Canaries

A checker that cannot complain proves nothing. These are mistakes that real systems have made, each a subclass of the
part that would make it, passed in where the container takes its parts. Each must be caught within {CANARY_SEEDS} seeds;
`holdfast torture --canary` names the seed and the complaint, and fails if one escapes.

| canary | what it does wrong | complaints begin with |
| --- | --- | --- |
{_rows((name, canary.mistake, ", ".join(canary.caught_by)) for name, canary in CANARIES.items())}

## Your own strategy

`--strategy` takes what `paper` takes, and trades it in place of the simulator's own strategies (one that is typical,
and a monkey that buys, sells, exits and cancels at random), on `SPY`, `QQQ` and `BTC/USD`. It must not need parameters. What is found then is one of three things:

- it raised: `failure`, with the method and the line;
- it decides otherwise when it is shown the same bars again: `P8`. It looked at a clock, drew a number, or keeps
  something that `save_state` does not give;
- a promise does not hold: that is a bug of Holdfast. Please send us the seed and the strategy.

## Reading a failure

Every seed that fails is shown with the complaints, with what the log tells of the first order that is named in them, with
the log's end, and with the command that repeats it. A line is: virtual seconds, who, what, details. From
Python the same is `holdfast.testing.sim.simulate(scenario(seed))`; its result has the whole log in `tail`.

## A new fault, checker or canary

A fault is a row in `faults.py` and the place in `network.py`, `journal.py` or `world.py` that draws it. A checker is a function from the
world to sentences and its row in `checkers.py`. It needs a canary that it catches: a subclass and its row in
`mistakes.py` and `canaries.py`, and in `tests/sim/test_canaries.py`.

## Your own broker or journal

`holdfast.testing` ships the suites that ours pass. Subclass one in a test module, say how yours is opened, and pytest collects the rest:
`JournalConformance` (every message comes back as it went in, numbers without gaps, snapshots) and `BrokerConformance` (a submit ends in a report, a refusal, as
dropped or as unknown; what is unknown is found by our id and there once; an id is taken for ever; cancels, replacements, pages, executions, positions). The
broker is put beside a `BrokerDesk`, which lets time pass at its venue and loses an answer on demand. Adapters that are broken on purpose are caught by it
(`tests/brokers/test_broker_conformance.py`).
"""


def _first_line(check: Callable[..., object]) -> str:
    return (check.__doc__ or "").split("\n\n")[0].strip().replace("\n    ", " ")


def _rows(rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| `{row[0]}` | {' | '.join(row[1:])} |" for row in rows)


def _words(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "ORDER-STATES.md": order_states,
    "UNKNOWN.md": unknown_outcomes,
    "TESTING.md": testing,
}


def stale() -> list[str]:
    """The names of the pages that are not what the code says."""
    return [
        name
        for name, render in PAGES.items()
        if not (DOCS / name).is_file() or (DOCS / name).read_text(encoding="utf-8") != render()
    ]


def main() -> int:
    """Write, or check."""
    names = stale()
    if "--check" in sys.argv[1:]:
        if names:
            sys.stderr.write(f"docs/{names[0]} is not what the code says: run scripts/render-docs.py\n")
        return 1 if names else 0
    for name in names:
        (DOCS / name).write_text(PAGES[name](), encoding="utf-8")
        sys.stdout.write(f"wrote docs/{name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
