"""docs/OPERATIONS.md shows the table of the code, cell by cell, and the commands that there are."""

from __future__ import annotations

from holdfast.kernel.flattening import ROWS, Facts
from tests.docs.snippets import ROOT

PAGE = ROOT / "docs" / "OPERATIONS.md"
_CELLS = {None: "-", True: "yes", False: "no"}


def test_the_table_of_a_flatten_is_that_of_the_code() -> None:
    """Every row, in its order."""
    expected = [
        "| "
        + " | ".join([row.label, *(_CELLS[getattr(row, name)] for name in Facts.__struct_fields__), row.action.value])
        + " |"
        for row in ROWS
    ]
    lines = PAGE.read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if line.startswith("| @")] == expected
    assert f"| row | {' | '.join(Facts.__struct_fields__)} | what is done |" in lines


def test_every_command_that_stops_or_watches_has_its_section() -> None:
    """What README names is explained here."""
    text = PAGE.read_text(encoding="utf-8")

    for command in ("halt", "resume", "flatten", "doctor", "watch"):
        assert f"\n## {command}\n" in text
