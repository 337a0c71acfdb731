"""A kept calendar is what exchange_calendars says, or it is not used."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import zoneinfo
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from holdfast.data.calendar_cache import cache_dir, is_ours, kept_calendar
from holdfast.model.errors import ConfigurationError
from holdfast.testing.processes import own_environment
from holdfast.time.calendars import Calendar, read_calendar

SMALL = Calendar(zone="America/New_York", start=0, opens=[10, 30], closes=[20, 40])


class Asked:
    """Knows one calendar, and counts how often it is asked for it."""

    def __init__(self, calendar: Calendar = SMALL) -> None:
        self.calendar = calendar
        self.times = 0

    def __call__(self, name: str) -> Calendar:
        """The calendar."""
        self.times += 1
        return self.calendar


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The file of a small calendar, as an earlier process has left it."""
    kept_calendar("XNYS", tmp_path, Asked())
    return tmp_path / "XNYS.calendar"


def is_used(kept: Path) -> bool:
    """Whether the file is taken for the calendar; what it says must be right in any case."""
    asked = Asked()
    assert kept_calendar("XNYS", kept.parent, asked) == SMALL
    return asked.times == 0


@pytest.mark.parametrize("name", ["XNYS", "XHKG"])
def test_a_kept_calendar_is_what_exchange_calendars_says(name: str, tmp_path: Path) -> None:
    """To the last nanosecond, for the process that asks and for those that come after it."""
    said = read_calendar(name)

    first = kept_calendar(name, tmp_path)
    asked = Asked()
    second = kept_calendar(name, tmp_path, asked)

    assert first == second == said
    assert asked.times == 0
    assert len(said.opens) == len(said.closes) > 5_000


def test_a_file_is_for_its_user_alone(kept: Path) -> None:
    """And nothing else is left beside it."""
    assert is_used(kept)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert list(kept.parent.iterdir()) == [kept]


##### Damage


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "half": lambda whole: whole[: len(whole) // 2],
    "its end is missing": lambda whole: whole[:-1],
    "its beginning is missing": lambda whole: whole[1:],
    "more behind it": lambda whole: whole + b"\0",
    "zeros, as after a power cut": lambda whole: bytes(len(whole)),
    "another checksum": lambda whole: bytes(32) + whole[32:],
    "a text": lambda _: b"these are no sessions\n",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_damaged_is_asked_for_anew_and_mended(damage: str, kept: Path) -> None:
    """The next process has it again."""
    whole = kept.read_bytes()
    kept.write_bytes(DAMAGE[damage](whole))

    assert not is_used(kept)
    assert kept.read_bytes() == whole
    assert is_used(kept)


def test_no_changed_bit_goes_unnoticed(kept: Path) -> None:
    """Of none of its bytes."""
    whole = kept.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        kept.write_bytes(changed)

        assert not is_used(kept), f"byte {place}"


@pytest.mark.parametrize(
    "body", [b"", b"\xc0", msgspec.msgpack.encode({"origin": 1}), msgspec.msgpack.encode([]), b"\x81\xa1\xff\x01"]
)
def test_a_whole_file_of_another_form_is_asked_for_anew(body: bytes, kept: Path) -> None:
    """Its checksum is right, and it is nothing that this version could read."""
    kept.write_bytes(sealed(body))

    assert not is_used(kept)
    assert is_used(kept)


def sealed(body: bytes) -> bytes:
    """The body with its checksum before it."""
    return hashlib.sha256(body).digest() + body


##### Another origin


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("form", 0),
        ("name", "XLON"),
        ("first_day", "1990-01-01"),
        ("last_day", "2061-12-31"),
        ("packages", {}),
        ("zone", "Europe/London"),
        ("zone_rules", ""),
    ],
)
def test_of_another_origin_it_is_asked_for_anew(field: str, value: object, kept: Path) -> None:
    """Another form, exchange, stretch of days, version of a package or daylight saving: other sessions, perhaps."""
    file = msgspec.msgpack.decode(kept.read_bytes()[32:])
    assert file["origin"][field] != value
    file["origin"][field] = value
    kept.write_bytes(sealed(msgspec.msgpack.encode(file)))

    assert not is_used(kept)
    assert is_used(kept)


def test_the_origin_names_what_is_installed(kept: Path) -> None:
    """A new version of any of these may know another holiday."""
    packages = msgspec.msgpack.decode(kept.read_bytes()[32:])["origin"]["packages"]

    for package in ("exchange_calendars", "pandas", "python-dateutil", "tzdata"):
        assert packages[package][0].isdigit()


@pytest.fixture
def zones(tmp_path: Path) -> Iterator[Path]:
    """A folder that is the system's database of time zones meanwhile."""
    before = zoneinfo.TZPATH
    folder = tmp_path / "zones"
    (folder / "America").mkdir(parents=True)
    zoneinfo.reset_tzpath(to=[folder])
    yield folder
    zoneinfo.reset_tzpath(to=before)


def test_new_rules_of_the_zone_are_another_origin(zones: Path, tmp_path: Path) -> None:
    """Daylight saving that is abolished moves every open; it comes with the system's database, and with no package."""
    kept_calendar("XNYS", tmp_path, Asked())
    assert is_used(tmp_path / "XNYS.calendar")

    (zones / "America" / "New_York").write_bytes(b"TZif: summer for ever")
    assert not is_used(tmp_path / "XNYS.calendar")
    assert is_used(tmp_path / "XNYS.calendar")

    (zones / "America" / "New_York").write_bytes(b"TZif: winter for ever")
    assert not is_used(tmp_path / "XNYS.calendar")


def test_one_exchange_is_never_taken_for_another(tmp_path: Path) -> None:
    """Not even where somebody has copied its file."""
    kept_calendar("XNYS", tmp_path, Asked())
    (tmp_path / "XNYS.calendar").rename(tmp_path / "XLON.calendar")
    asked = Asked()

    kept_calendar("XLON", tmp_path, asked)
    assert asked.times == 1


##### Others' files


def status(mode: int, user: int) -> os.stat_result:
    """What the system says of a file."""
    return os.stat_result((mode, 1, 1, 1, user, 0, 100, 0, 0, 0))


def test_a_file_of_another_user_is_never_ours() -> None:
    """Nor one that others may read or write, nor what is no file at all."""
    me = os.geteuid()

    assert is_ours(status(stat.S_IFREG | 0o600, me))
    assert not is_ours(status(stat.S_IFREG | 0o600, me + 1))
    for mode in (0o620, 0o602, 0o640, 0o604, 0o666):
        assert not is_ours(status(stat.S_IFREG | mode, me))
    for kind in (stat.S_IFDIR, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR):
        assert not is_ours(status(kind | 0o600, me))


@pytest.mark.parametrize("mode", [0o644, 0o660, 0o606])
def test_a_file_that_others_may_open_is_replaced(mode: int, kept: Path) -> None:
    """By one that they may not."""
    kept.chmod(mode)

    assert not is_used(kept)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert is_used(kept)


def test_a_link_is_not_followed(kept: Path) -> None:
    """It is replaced by a file, and what it led to is as it was."""
    elsewhere = kept.with_name("elsewhere")
    kept.rename(elsewhere)
    kept.symlink_to(elsewhere)
    before = elsewhere.read_bytes()

    assert not is_used(kept)
    assert not kept.is_symlink()
    assert elsewhere.read_bytes() == before
    assert is_used(kept)


def test_a_pipe_holds_nobody_up(kept: Path) -> None:
    """It is replaced as well."""
    kept.unlink()
    os.mkfifo(kept, 0o600)

    assert not is_used(kept)
    assert is_used(kept)


##### Nowhere to keep it


def test_a_folder_in_its_place_is_left_alone(kept: Path) -> None:
    """Then each process asks, and no half file stays behind."""
    kept.unlink()
    kept.mkdir()

    assert not is_used(kept)
    assert not is_used(kept)
    assert list(kept.parent.iterdir()) == [kept]


def test_where_no_folder_can_be_made_each_process_asks(tmp_path: Path) -> None:
    """Something else has its name."""
    (tmp_path / "taken").write_text("a file", encoding="ascii")

    assert not is_used(tmp_path / "taken" / "holdfast" / "XNYS.calendar")
    assert not is_used(tmp_path / "taken" / "holdfast" / "XNYS.calendar")


FULL = """
import resource, sys
from pathlib import Path
from tests.data.test_calendar_cache import is_used
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
place = Path(sys.argv[1]) / "XNYS.calendar"
assert not is_used(place) and not is_used(place)
"""


def test_a_disk_without_room_fails_nobody(tmp_path: Path) -> None:
    """What could not be written whole is taken away again."""
    subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], check=True, timeout=60)

    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_no_file_name_is_asked_for_each_time(tmp_path: Path) -> None:
    """Such as exchange_calendars' own 24/7, and whatever leads out of the folder."""
    for name in ("24/7", "../XNYS", "", "XNYS\n"):
        asked = Asked()
        for _ in range(2):
            kept_calendar(name, tmp_path / "cache", asked)
        assert asked.times == 2

    assert list(tmp_path.iterdir()) == []


def test_an_unknown_exchange_is_refused_as_ever(tmp_path: Path) -> None:
    """And nothing is kept of it."""
    with pytest.raises(ConfigurationError, match="no exchange 'XXXX'"):
        kept_calendar("XXXX", tmp_path)

    assert list(tmp_path.iterdir()) == []


##### Several at once


RACE = """
import sys
from pathlib import Path
from tests.data.test_calendar_cache import is_used
kept = Path(sys.argv[1]) / "XNYS.calendar"
sys.stdin.read()
used = 0
for turn in range(400):
    if turn % 3 == 0:
        kept.unlink(missing_ok=True)
    used += is_used(kept)
print(used)
"""


def test_processes_that_read_write_and_delete_at_once_all_get_the_calendar(tmp_path: Path) -> None:
    """Each turn asserts that; a file is there whole or not at all, and no other is left."""
    command = [sys.executable, "-c", RACE, str(tmp_path)]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        assert process.stdin is not None
        process.stdin.close()
    said = [process.stdout.read() for process in both if process.stdout is not None]
    for process in both:
        assert process.wait(60) == 0
        assert process.stdout is not None
        process.stdout.close()

    assert all(int(used) > 100 for used in said)  # and files were used meanwhile
    assert [path.name for path in tmp_path.iterdir()] == ["XNYS.calendar"]
    assert is_used(tmp_path / "XNYS.calendar")


##### The place


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"HOLDFAST_CACHE": "/named", "XDG_CACHE_HOME": "/xdg"}, "/named"),
        ({"HOLDFAST_CACHE": "", "XDG_CACHE_HOME": "/xdg"}, "/xdg/holdfast"),
        ({"HOME": "/somebody"}, "/somebody/.cache/holdfast"),
        ({"HOME": "/somebody", "XDG_CACHE_HOME": ""}, "/somebody/.cache/holdfast"),
    ],
)
def test_where_it_is_kept(variables: dict[str, str], place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the user says, or the platform."""
    for name in ("HOLDFAST_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert cache_dir() == Path(place)


def test_processes_of_tests_share_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a home of its own; the cache holds nothing of a user."""
    monkeypatch.setenv("HOLDFAST_CACHE", "/named")
    monkeypatch.setenv("HOLDFAST_STATUS__PORT", "1")

    environment = own_environment(tmp_path)

    assert environment["HOLDFAST_CACHE"] == "/named"
    assert "HOLDFAST_STATUS__PORT" not in environment
