"""The token: hard to guess, kept for its owner, and refused where it could not protect anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.model.errors import ConfigurationError
from holdfast.web import create_app, generate_token, load_or_create_token
from tests.web.example import Source


def test_tokens_differ_and_are_long() -> None:
    """Two are never the same, and none is short enough to try out."""
    tokens = {generate_token() for _ in range(100)}

    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 40


def test_the_file_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    """A restart shows the same page under the same token."""
    path = tmp_path / "state" / "token"
    token = load_or_create_token(path)

    assert load_or_create_token(path) == token
    assert path.stat().st_mode & 0o077 == 0 or os.name != "posix"


@pytest.mark.parametrize(
    "content", ["", "short\n", "two words that are long enough\n", "ümlaute-are-not-for-headers\n"]
)
def test_a_file_with_no_usable_token_is_refused(tmp_path: Path, content: str) -> None:
    """It is not overwritten either: somebody put it there."""
    path = tmp_path / "token"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(ConfigurationError, match="token"):
        load_or_create_token(path)
    assert path.read_text(encoding="utf-8") == content


def test_a_place_that_cannot_be_written_is_one_clear_sentence(tmp_path: Path) -> None:
    """It names the file."""
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(ConfigurationError, match="token's file"):
        load_or_create_token(tmp_path / "file" / "token")


def test_a_refused_token_is_not_shown() -> None:
    """An error message ends up in logs."""
    with pytest.raises(ConfigurationError) as caught:
        create_app(Source(), "sesame")

    assert "sesame" not in str(caught.value)
