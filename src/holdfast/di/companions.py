"""Where the files are that stand beside a journal: halt, resume, alive, and the book of a built-in venue.

A journal in a file has them beside it, as ``FILE.halt``. Beside a database there is no place, so they are kept in the
user's state folder, under a name that follows from what the database is, and not from how its address was written:

    part of the name               because
    host, port, user, database     together they are one database; libpq's own defaults (``PGHOST``, ...) fill the gaps
    the schema, where one is told  one schema is one journal, and a halt of one bot is none of its neighbour
    no password, no other option   they may change between two commands, and nothing that is secret leaves a trace

The command that stops a bot must come to the same name as the bot: on the same machine, as the same user (or with the same
``HOLDFAST_HOME``), with the same database in its address. The database itself is not asked: a halt must work while it is down.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import re
from pathlib import Path

from holdfast.journal.places import DatabaseUrl, Place
from holdfast.model.errors import ConfigurationError

_SEARCH_PATH = re.compile(r"(?:-c\s*|--)search[_-]path\s*=\s*((?:\\.|[^\s\\])+)", re.IGNORECASE)
_NAME_CHARACTERS = 16
# Two names of this machine that people use for each other.
_HOSTS = {"localhost": "127.0.0.1", "::1": "127.0.0.1"}


def state_dir() -> Path:
    """``$HOLDFAST_HOME``, or ``holdfast`` in the user's state directory (XDG)."""
    home = os.environ.get("HOLDFAST_HOME")
    if home:
        return Path(home)
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "holdfast"


def companions(journal: Place) -> Path:
    """The path that ``.halt``, ``.resume``, ``.alive`` and ``.venue`` are appended to.

    Args:
        journal: Where the journal is.

    Raises:
        ConfigurationError: The state folder cannot be made, the address is none, or the database's driver is not installed.
    """
    if isinstance(journal, Path):
        return journal
    folder = state_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = (
            f"what stops a bot with the journal {journal} from outside would be kept in {folder}: {error.strerror}; "
            "expected HOLDFAST_HOME to name a folder that can be written"
        )
        raise ConfigurationError(message) from None
    return folder / companion_name(journal)


def companion_name(url: DatabaseUrl) -> str:
    """What the files of a journal in a database are called, in whichever state folder.

    Raises:
        ConfigurationError: The address is none, or the database's driver is not installed.
    """
    return f"postgresql-{hashlib.sha256(chr(0).join(_what_it_is(url)).encode()).hexdigest()[:_NAME_CHARACTERS]}"


def _what_it_is(url: DatabaseUrl) -> tuple[str, ...]:
    from holdfast.journal.postgres_store import load_driver  # noqa: PLC0415 - the driver is an extra

    driver = load_driver(str(url))
    said = {option.keyword.decode(): option.val.decode() for option in driver.pq.Conninfo.get_defaults() if option.val}
    try:
        said |= {key: str(value) for key, value in driver.conninfo.conninfo_to_dict(url.address).items() if value}
    except driver.Error:
        message = f"the journal {url} has an address that libpq cannot read: expected postgresql://USER@HOST/DATABASE"
        raise ConfigurationError(message) from None
    user = said.get("user") or getpass.getuser()
    host = (said.get("hostaddr") or said.get("host", "")).lower()
    schemas = _SEARCH_PATH.findall(said.get("options", ""))
    return (
        said.get("service", ""),
        _HOSTS.get(host, host),
        said.get("port", ""),
        user,
        said.get("dbname") or user,
        _first(schemas[-1]) if schemas else "",
    )


def _first(path: str) -> str:
    """The first schema of a search path, as the server reads it."""
    name = path.replace("\\", "").split(",")[0].strip()
    return name.strip('"') if name.startswith('"') else name.lower()
