"""What is wrong with a journal, tried as a user would: one clear sentence, another exit code than 0, and nothing lost."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.journal.rows import FORM
from holdfast.testing.postgres import PASSWORD, own_server, why_no_server
from holdfast.testing.processes import Finished, VenueBooks, own_environment
from tests.e2e.helpers import SAMPLE_SYMBOL, Commands, assert_same_on_both_sides, save_waves
from tests.e2e.test_paper_session import EAGER

_NAMESPACE = ("unshare", "--mount", "--map-root-user")
_ON_A_SMALL_DISK = """
set -e
mount -t tmpfs -o size=12m none "$1"
trade() { "$PYTHON" -m holdfast paper --venue "$URL" --symbol "$SYMBOL" --param deviations=1.2 --param warmup_bars=5 \\
    --journal "$1/journal" --once --json > "$2/$3.out" 2> "$2/$3.err" && echo 0 > "$2/$3.code" || echo $? > "$2/$3.code"; }
(head -c $((12 * 1024 * 1024 - ROOM)) /dev/zero > "$1/ballast") 2> /dev/null || true
trade "$1" "$2" full
"$PYTHON" -m holdfast journal verify "$1/journal" > "$2/verify.out" 2>&1 && echo 0 > "$2/verify.code" || echo $? > "$2/verify.code"
rm "$1/ballast"
mount -o remount,ro "$1"
trade "$1" "$2" readonly
mount -o remount,rw "$1"
trade "$1" "$2" again
cp "$1/journal" "$2/journal"
"""


def finished(folder: Path, name: str) -> Finished:
    """What one of the commands in the script said."""
    out, err = (folder / f"{name}.{kind}" for kind in ("out", "err"))
    return Finished(int((folder / f"{name}.code").read_text()), out.read_text(), err.read_text())


def sentence(ended: Finished) -> str:
    """The last line, which says what is wrong; no traceback, no summary."""
    assert ended.code not in {0, None}
    assert "Traceback" not in ended.err
    assert ended.out == ""
    last = ended.err.splitlines()[-1]
    assert last.startswith("holdfast: ")
    return last


@pytest.mark.slow
def test_a_disk_that_fills_up_and_one_that_is_read_only(commands: Commands) -> None:
    """The bot stops with a sentence, the journal is whole; with room again it goes on, and the books are equal."""
    disk, said = commands.folder / "disk", commands.folder / "said"
    disk.mkdir()
    said.mkdir()
    probe = [*_NAMESPACE, "mount", "-t", "tmpfs", "none", str(disk)]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("a small disk takes a mount namespace, and this system gives us none")
    venue = commands.venue("--data", save_waves(commands.folder / "waves.csv", 400), "--symbol", SAMPLE_SYMBOL)
    environment = {
        **own_environment(commands.home),
        "PYTHON": sys.executable,
        "URL": venue.url,
        "SYMBOL": SAMPLE_SYMBOL,
        "ROOM": str(160 * 1024),
    }
    done = subprocess.run(
        [*_NAMESPACE, "sh", "-c", _ON_A_SMALL_DISK, "sh", str(disk), str(said)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=commands.folder,
    )
    assert done.returncode == 0, done.stderr

    assert "database or disk is full" in sentence(finished(said, "full"))
    assert (said / "verify.code").read_text() == "0\n", (said / "verify.out").read_text()
    assert "cannot be opened: Read-only file system" in sentence(finished(said, "readonly"))
    summary = finished(said, "again").json
    assert_same_on_both_sides(summary, VenueBooks.ask(venue.url), said / "journal")
    assert summary["bars"] == 400
    assert summary["orders"]


@pytest.mark.slow
def test_a_journal_from_the_future_and_one_with_a_changed_byte(commands: Commands) -> None:
    """The first is refused and left as it is; of the second, `holdfast replay` names the place. Whole, it is replayed with 0."""
    data, journal = save_waves(commands.folder / "waves.csv", 150), commands.folder / "journal"
    market = ["--data", data, "--symbol", SAMPLE_SYMBOL, *EAGER]
    summary = commands.paper(*market, "--journal", journal)
    assert summary["orders"]
    assert commands.run("replay", journal).code == 0

    future = commands.folder / "future"
    shutil.copy(journal, future)
    with contextlib.closing(sqlite3.connect(future)) as database:
        database.execute("UPDATE meta SET value = ? WHERE key = 'form'", (str(FORM + 1),))
        database.commit()
    before = future.read_bytes()
    ended = commands.run("paper", *market, "--journal", future, "--speed", "max", "--once", "--json")
    assert f"has journal form {FORM + 1}; this version of Holdfast reads up to form {FORM}" in sentence(ended)
    assert future.read_bytes() == before

    with contextlib.closing(sqlite3.connect(journal)) as database:
        seq, payload = database.execute(
            "SELECT seq, payload FROM records ORDER BY seq LIMIT 1 OFFSET (SELECT count(*) / 2 FROM records)"
        ).fetchone()
        at = len(payload) // 2
        changed = bytes([*payload[:at], payload[at] ^ 1, *payload[at + 1 :]])
        database.execute("UPDATE records SET payload = ? WHERE seq = ?", (changed, seq))
        database.commit()
    ended = commands.run("replay", journal)
    assert f"journal record {seq} is damaged" in sentence(ended)


@pytest.mark.slow
def test_a_database_that_refuses_and_one_that_is_owned(commands: Commands) -> None:
    """A wrong password, and a second runner: told in a sentence without the password; the first goes on to equal books."""
    if reason := why_no_server():
        pytest.skip(reason)
    data = save_waves(commands.folder / "waves.csv", 150)
    market = ["--data", data, "--symbol", SAMPLE_SYMBOL, *EAGER, "--speed", "max", "--json"]
    with own_server() as server:
        wrong = server.url(password="not this one").address
        told = sentence(commands.run("paper", *market, "--once", "--journal", wrong))
        assert "password authentication failed" in told
        assert "this" not in told, "no part of the password"

        address = server.url().address
        first = commands.start("paper", *market, "--journal", address)
        first.status_url()
        told = sentence(commands.run("paper", *market, "--once", "--journal", address))
        assert f"is owned by another running process (pid {first.process.pid})" in told
        assert PASSWORD not in told
        summary = first.finish(signal.SIGINT).json
    assert summary["drift"] == []
    assert summary["positions"] == summary["venue_positions"]


@pytest.mark.slow
def test_a_journal_that_the_configuration_names_has_its_venues_book_too(commands: Commands) -> None:
    """Named there or on the command line: a second run finds the venue's side of the books, and nothing differs."""
    journal = commands.folder / "named"
    settings = {"HOLDFAST_JOURNAL__PATH": str(journal)}
    market = ["--data", save_waves(commands.folder / "waves.csv", 150), "--symbol", SAMPLE_SYMBOL, *EAGER]
    arguments = ["paper", *market, "--speed", "max", "--once", "--json"]

    first, second = (commands.run(*arguments, env=settings).json for _ in range(2))

    assert Path(f"{journal}.venue").is_file()
    assert first["orders"]
    assert second == first
