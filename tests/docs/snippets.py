"""Finds the code in documents, so that it can be run."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def blocks(name: str, language: str) -> list[str]:
    """The fenced blocks of one language in a document, in order."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def table_keys(name: str, section: str) -> list[str]:
    """The words in backquotes in the first column of the tables below a heading."""
    text = (ROOT / name).read_text(encoding="utf-8")
    _, _, rest = text.partition(f"\n## {section}\n")
    body = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    cells = re.findall(r"^\| ([^|]*) \|", body, flags=re.MULTILINE)
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]
