"""Pages that are made from the code are what the code says."""

from __future__ import annotations

import subprocess
import sys

from tests.docs.snippets import ROOT


def test_generated_pages_are_up_to_date() -> None:
    """Otherwise: run scripts/render-docs.py."""
    result = subprocess.run(
        [sys.executable, ROOT / "scripts" / "render-docs.py", "--check"], capture_output=True, text=True, check=False
    )

    assert result.returncode == 0, result.stderr


def test_the_readme_names_every_command() -> None:
    """A command that the README does not show is a secret."""
    from holdfast.cli.main import app  # noqa: PLC0415 - Typer is slow to import and only this test needs it

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    names = [
        command.name or (command.callback.__name__ if command.callback else "") for command in app.registered_commands
    ]

    assert len(names) >= 5
    assert [name for name in names if f"`holdfast {name}`" not in text] == []
