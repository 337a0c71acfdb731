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


PAGES: Final[Mapping[str, Callable[[], str]]] = {"ORDER-STATES.md": order_states}


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
