#!/usr/bin/env python3
"""Writes the pages of docs/ that are made from the code: what is generated cannot disagree with it.

Run it with the project's own Python: ``.venv/bin/python scripts/render-docs.py``. With ``--check`` it writes
nothing, and complains (exit code 1) where a page is not what it would be.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from holdfast.kernel import unknown_page
from holdfast.state import order_machine

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
An order that is known to be open and gives no reason for doubt is looked up as slowly, in case its closing word got
lost. When the order stream comes back, everything unknown is asked for at once.
"""


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "ORDER-STATES.md": order_states,
    "UNKNOWN.md": unknown_outcomes,
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
