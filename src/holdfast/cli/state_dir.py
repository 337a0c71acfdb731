"""The little that the command keeps for its user between runs: the status token and the last address."""

from __future__ import annotations

import contextlib
from pathlib import Path

from holdfast.di.companions import companions, state_dir
from holdfast.journal.places import Place
from holdfast.model.errors import ConfigurationError
from holdfast.web.token import generate_token, load_or_create_token


def default_journal(mode: str) -> Path:
    """Where state is kept between runs at a real venue, if the user names no other place.

    Raises:
        ConfigurationError: The folder cannot be made.
    """
    folder = state_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"no journal can be kept in {folder}: {error.strerror}; expected --journal FILE"
        raise ConfigurationError(message) from None
    return folder / f"alpaca-{mode}.journal"


def venue_book(journal: Place) -> Path:
    """Where a built-in venue keeps its book between runs of a bot with this journal.

    Raises:
        ConfigurationError: There is no place for it.
    """
    return Path(f"{companions(journal)}.venue")


def token_path() -> Path:
    """The file that holds the status API's token."""
    return state_dir() / "status.token"


def status_token() -> str:
    """The kept token; one for this run only where nothing can be kept."""
    try:
        return load_or_create_token(token_path())
    except ConfigurationError:
        return generate_token()


def remember_status(url: str) -> Path | None:
    """Keep the address for ``holdfast status``; returns where the token is, if it could be kept."""
    with contextlib.suppress(OSError):
        (state_dir() / "status.url").write_text(url + "\n", encoding="ascii")
    return token_path() if token_path().is_file() else None


def last_status_url() -> str | None:
    """The address of the last bot that was started here."""
    try:
        return (state_dir() / "status.url").read_text(encoding="ascii").strip()
    except OSError:
        return None


def shown(path: Path) -> str:
    """A path as a person writes it: under the home folder, from ``~`` on."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
