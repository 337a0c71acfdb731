"""What exchange_calendars said, kept in a file, so that only the first process of many has to ask it.

The problem: exchange_calendars and its pandas take about a second of every process that asks when the NYSE trades, and
the answer is the same numbers each time. They are kept as ``XNYS.calendar`` in the user's cache folder, with all that
they follow from: the installed versions of the packages that know the holidays, the rules of the exchange's time zone, the
days that were asked for. A holiday that is decided tomorrow comes with a new version of exchange_calendars, and another
daylight saving with new rules of the zone; either is another origin, and the calendar is asked for anew.

    what is found                                        what follows
    our file, whole, and of the same origin              its numbers; neither pandas nor exchange_calendars is imported
    no file                                              asked, and kept
    another origin, or the form of another version       asked, and kept in its place
    half a file, or any bit of it changed                asked, and kept in its place
    a file of another user, or one that others may read  asked, and kept in its place: nobody else says when we trade
    a link, a folder, a pipe in its place                the same; where it cannot be replaced, asked each time
    no folder, and none can be made; a full disk         asked each time
    another process that does the same at once           each puts a whole file there; the last one stays

It is a cache: nothing here fails a command, and whoever deletes it loses a second.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import re
import stat
import tempfile
import zoneinfo
from pathlib import Path
from typing import Final

import msgspec

from holdfast.time.calendars import FIRST_DAY, LAST_DAY, Calendar, CalendarReader, read_calendar

FORM: Final = 1
# Who knows the rules: holidays are written with pandas' own, Easter is dateutil's; zones that the system lacks are tzdata's.
_PACKAGES: Final = ("exchange_calendars", "korean_lunar_calendar", "pandas", "pyluach", "python-dateutil", "tzdata")
_NAME: Final = re.compile(r"\w+", re.ASCII)  # what is safe in a file's name
_DIGEST_BYTES: Final = 32
_BYTES_MAX: Final = 1 << 24  # some forty times the file of XNYS
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class _Origin(msgspec.Struct, frozen=True, kw_only=True):
    """What a calendar follows from."""

    form: int
    name: str
    first_day: str
    last_day: str
    packages: dict[str, str]
    zone: str
    zone_rules: str


class _Kept(msgspec.Struct, frozen=True):
    origin: _Origin
    calendar: Calendar


def cache_dir() -> Path:
    """``$HOLDFAST_CACHE``, or ``holdfast`` in the user's cache directory (XDG).

    Raises:
        RuntimeError: The user has no home folder.
    """
    named = os.environ.get("HOLDFAST_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "holdfast"


def kept_calendar(name: str, folder: Path | None = None, ask: CalendarReader = read_calendar) -> Calendar:
    """An exchange's calendar, from the file of an earlier process where there is a good one.

    Args:
        name: The exchange's name in exchange_calendars.
        folder: Where files are kept; default: ``cache_dir()``.
        ask: Who knows the calendar; default: exchange_calendars.

    Raises:
        ConfigurationError: There is no exchange of this name.
    """
    if os.name != "posix" or _NAME.fullmatch(name) is None:  # elsewhere nobody could tell whose the file is
        return ask(name)
    try:
        path = (folder or cache_dir()) / f"{name}.calendar"
    except RuntimeError:
        return ask(name)
    # Before anybody is asked: an upgrade in between makes the file old, and never wrong.
    packages = {package: _version(package) for package in _PACKAGES}
    kept = _load(path)
    if kept is not None and kept.origin == _origin(name, kept.calendar.zone, packages):
        return kept.calendar
    calendar = ask(name)
    _keep(path, _Kept(_origin(name, calendar.zone, packages), calendar))
    return calendar


def is_ours(status: os.stat_result) -> bool:
    """Whether a file is one that this user alone can have written."""
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & _OTHERS


def _load(path: Path) -> _Kept | None:
    """A whole file of ours; None where there is none."""
    try:
        content = _read(path)
    except OSError:
        return None
    digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        return None
    try:
        return msgspec.msgpack.decode(body, type=_Kept)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None  # whole, and in the form of another version


def _read(path: Path) -> bytes:
    # Not blocking: a pipe that somebody put there has no end.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not is_ours(os.fstat(descriptor)):
            return b""
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(_BYTES_MAX)
    finally:
        os.close(descriptor)


def _keep(path: Path, kept: _Kept) -> None:
    """Put a whole file in place, or leave all as it is. Not synced: what a lost one costs is a second."""
    body = msgspec.msgpack.encode(kept)
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, fresh = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # only its owner may read it
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(body).digest() + body)
            Path(fresh).replace(path)
        except OSError:
            Path(fresh).unlink(missing_ok=True)


def _origin(name: str, zone: str, packages: dict[str, str]) -> _Origin:
    return _Origin(
        form=FORM,
        name=name,
        first_day=FIRST_DAY,
        last_day=LAST_DAY,
        packages=packages,
        zone=zone,
        zone_rules=_zone_rules(zone),
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _zone_rules(zone: str) -> str:
    """A digest of the system's file of a zone; empty where there is none, and the package tzdata has it."""
    for folder in zoneinfo.TZPATH:
        with contextlib.suppress(OSError):
            return hashlib.sha256((Path(folder) / zone).read_bytes()).hexdigest()
    return ""
