"""``holdfast journal ...`` and ``--journal`` with a database, as a user meets them."""

from __future__ import annotations

import asyncio
import csv
import os
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.cli.journal_export import COLUMNS, export_tables
from holdfast.journal import DatabaseUrl, JournalReader, Snapshot, open_journal
from holdfast.model.errors import ConfigurationError
from holdfast.model.events import TimerFired
from holdfast.testing.processes import Finished
from tests.e2e.helpers import SAMPLE_SYMBOL, Commands, save_waves
from tests.journal.conftest import Bench, schema_name
from tests.journal.postgres import Schemas, answering_server


@pytest.fixture
def database(tmp_path: Path) -> Iterator[DatabaseUrl]:
    """A schema of this test's own on a real server."""
    address = answering_server()
    if address is None:
        pytest.skip("no PostgreSQL server answers")
    schemas = Schemas(address)
    yield schemas.url(schema_name(tmp_path))
    schemas.drop()


def session(commands: Commands, journal: object, *market: object) -> dict[str, Any]:
    """Trade a market to its end (the bundled sample, if no other is given); the summary."""
    ended = commands.run("paper", *market, "--speed", "max", "--once", "--json", "--journal", journal)
    assert ended.code == 0, ended.err
    summary: dict[str, Any] = msgspec.json.decode(ended.out)
    return summary


def waves(commands: Commands, bars: int) -> tuple[object, ...]:
    """A made-up market."""
    return "--data", save_waves(commands.folder / "waves.csv", bars), "--symbol", SAMPLE_SYMBOL


def small(path: Path, count: int = 5) -> Bench:
    """A journal of timers, and a snapshot."""
    bench = Bench(path)
    journal = bench.open()
    for number in range(1, count + 1):
        journal.append_event(TimerFired(ts=number, name=f"timer {number}"))
    journal.save_snapshot(Snapshot(seq=2, form=1, code="0.1.0", at=5, state=b"state"))
    asyncio.run(journal.sync())
    journal.close()
    return bench


def sentence(ended: Finished, code: int = 1) -> str:
    """It failed in one line; the line."""
    assert (ended.code, ended.out) == (code, ""), ended.err
    assert ended.err.startswith("holdfast: ")
    assert ended.err.count("\n") == 1, ended.err
    return ended.err


def table(folder: Path, name: str) -> list[dict[str, str]]:
    """A table as it was exported."""
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


##### A session, and everything that can be done with its journal


@pytest.mark.slow
def test_what_is_exported_is_what_the_bot_summed_up(commands: Commands) -> None:
    """Orders, fills and trades, one by one; verdicts by their counts. The figures of stats agree with them."""
    journal = commands.folder / "bot.journal"
    summary = session(commands, journal)
    out = commands.folder / "out"

    exported = commands.run("journal", "export", journal, "--to", out)
    stats = msgspec.json.decode(commands.run("journal", "stats", journal, "--json").out)

    assert (exported.code, exported.err) == (0, "")
    assert len(summary["trades"]) > 3
    assert f"{out / 'trades.csv'}: {len(summary['trades'])} rows" in exported.out
    assert [
        (row["client_order_id"], row["symbol"], row["side"], row["quantity"], row["status"], row["filled_quantity"])
        for row in table(out, "orders")
    ] == [
        (row["id"], row["symbol"], row["side"], row["quantity"], row["status"], row["filled"])
        for row in summary["orders"]
    ]
    assert [
        (row["at"], row["side"], row["quantity"], row["price"], row["execution_id"]) for row in table(out, "fills")
    ] == [(row["at"], row["side"], row["quantity"], row["price"], row["id"]) for row in summary["fills"]]
    assert [
        (row["closed_at"], row["quantity"], row["entry_price"], row["exit_reason"], f"{Decimal(row['profit']):.2f}")
        for row in table(out, "trades")
    ] == [
        (row["closed_at"], row["quantity"], row["entry_price"], row["exit_reason"], f"{Decimal(row['profit']):.2f}")
        for row in summary["trades"]
    ]
    verdicts = table(out, "verdicts")
    assert len(verdicts) == summary["signals"]
    blocked = [row for row in verdicts if row["approved"] == "false"]
    assert len(blocked) == sum(summary["blocked"].values())
    assert (stats["orders"], stats["fills"]) == (len(summary["orders"]), len(summary["fills"]))
    assert (stats["verdicts_approved"], stats["verdicts_blocked"]) == (len(verdicts) - len(blocked), len(blocked))
    assert stats["events"]["Bar"] == summary["bars"]
    assert [epoch["epoch"] for epoch in stats["epochs"]] == [1]


@pytest.mark.slow
def test_a_bot_keeps_its_journal_in_a_database(commands: Commands, database: DatabaseUrl) -> None:
    """Started twice on the same: the second run goes on where the first ended, and the books are equal."""
    market = waves(commands, 300)
    first = session(commands, database.address, *market)
    second = session(commands, database.address, *market)

    assert first["drift"] == second["drift"] == []
    assert first["orders"] == second["orders"] != []
    with JournalReader(database) as journal:
        records = [record.content for record in journal.records()]
    verified = commands.run("journal", "verify", database.address)
    assert verified.code == 0, verified.err
    assert f"is whole: {len(records):,} records, 2 runs, " in verified.out
    copied = commands.run("journal", "backup", database.address, commands.folder / "copy")
    assert f"{len(records):,} records, verified" in copied.out
    assert "2 runs" in commands.run("journal", "verify", commands.folder / "copy").out


##### verify and stats


def test_verify_says_that_a_journal_is_whole(commands: Commands) -> None:
    """In a line for people, and in JSON."""
    journal = commands.folder / "bot.journal"
    small(journal)

    said = commands.run("journal", "verify", journal)
    found = msgspec.json.decode(commands.run("journal", "verify", journal, "--json").out)

    assert said.out == f"{journal} is whole: 5 records, 0 runs, 1 snapshot, form 2\n"
    assert (found["records"], found["kinds"]["event"]["records"], found["snapshots"][0]["seq"]) == (5, 5, 2)
    assert sorted(path.name for path in commands.folder.iterdir() if path.name.startswith("bot")) == [
        "bot.journal",
        "bot.journal.lock",
    ]


def test_verify_names_the_place_of_a_damage(commands: Commands) -> None:
    """In the middle, at the end, in a snapshot: exit 1, and nothing is changed."""
    journal = commands.folder / "bot.journal"
    bench = small(journal)
    bench.cut_payload(3)
    assert f"{journal}: journal record 3 is damaged (event): its checksum" in sentence(
        commands.run("journal", "verify", journal)
    )
    last = small(commands.folder / "last.journal")
    last.cut_payload(5)
    before = last.rows()
    assert "journal record 5 is damaged (event)" in sentence(
        commands.run("journal", "verify", str(last.where), "--json")
    )
    assert last.rows() == before
    snapshot = small(commands.folder / "snapshot.journal")
    snapshot.do("UPDATE {}snapshots SET content = ?", b"other")
    assert "the snapshot after record 2 is damaged" in sentence(commands.run("journal", "verify", str(snapshot.where)))


def test_stats_show_everything(commands: Commands) -> None:
    """Also what was cut off, a snapshot that is damaged, and who owns the journal."""
    path = commands.folder / "bot.journal"
    bench = small(path)
    bench.cut_payload(5)
    bench.do("UPDATE {}snapshots SET crc = crc + 1")
    journal = bench.open()

    said = commands.run("journal", "stats", path)
    found = msgspec.json.decode(commands.run("journal", "stats", path, "--json").out)

    lines = dict(line.split(maxsplit=1) for line in said.out.splitlines() if len(line.split(maxsplit=1)) == 2)
    assert lines["records"] == "4"
    assert lines["id"] == journal.journal_id
    assert lines["owner"].startswith(f"pid {os.getpid()} on ")
    assert lines["torn"] == "1 cut off and put aside"
    assert lines["TimerFired"] == "4"
    assert "the snapshot after record 2 is damaged" in said.out
    assert (found["torn"], found["owner"]["pid"], found["form"]) == (1, os.getpid(), 2)
    assert found["size"] > 4_096
    journal.close()


@pytest.mark.parametrize("command", ["verify", "stats", "export"])
def test_what_is_no_journal_is_one_sentence(commands: Commands, command: str) -> None:
    """A file that is not there, one of somebody else, an address of something else."""
    other = commands.folder / "notes.txt"
    other.write_text("these are not the records that you are looking for\n" * 50, encoding="ascii")

    assert "there is no journal" in sentence(commands.run("journal", command, commands.folder / "none"))
    assert "cannot be used as a journal" in sentence(commands.run("journal", command, other))
    assert "cannot be kept at mysql://" in sentence(commands.run("journal", command, "mysql://root@127.0.0.1/x"), 2)
    assert not (commands.folder / "none").exists()


##### export


def test_parquet_without_polars_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install, and what works without."""
    small(tmp_path / "bot.journal")
    monkeypatch.setitem(sys.modules, "polars", None)

    with JournalReader(tmp_path / "bot.journal") as journal:
        with pytest.raises(ConfigurationError, match=r"pip install 'holdfast\[parquet\]', or --format csv"):
            list(export_tables(journal, tmp_path / "out", "parquet", list(COLUMNS)))
        assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_parquet_holds_what_csv_holds(commands: Commands) -> None:
    """With types: times in UTC, exact decimals, true and false."""
    pl = pytest.importorskip("polars", reason="polars is an extra")
    journal = commands.folder / "bot.journal"
    session(commands, journal, *waves(commands, 300))
    for form in ("csv", "parquet"):
        assert commands.run("journal", "export", journal, "--to", commands.folder, "--format", form).code == 0

    for name, columns in COLUMNS.items():
        frame = pl.read_parquet(commands.folder / f"{name}.parquet")
        rows = table(commands.folder, name)
        assert frame.columns == [column.name for column in columns]
        assert len(frame) == len(rows)
        for column in columns:
            values = frame[column.name].to_list()
            texts = [row[column.name] for row in rows]
            if column.kind == "amount":
                assert [value if value is None else value.normalize() for value in values] == [
                    Decimal(text).quantize(Decimal("1E-12")).normalize() if text else None for text in texts
                ]
            elif column.kind == "flag":
                assert values == [text == "true" for text in texts]
            elif column.kind == "text":
                assert [value or "" for value in values] == texts
            else:
                assert frame[column.name].dtype == pl.Datetime("ns", "UTC")


def test_one_table_alone_and_a_folder_that_cannot_be_made(commands: Commands) -> None:
    """Only what is asked for is written; a file in the folder's place is one sentence."""
    journal = commands.folder / "bot.journal"
    small(journal)
    out = commands.folder / "out"

    said = commands.run("journal", "export", journal, "--to", out, "--table", "verdicts", "--table", "verdicts")

    assert said.out == f"{out / 'verdicts.csv'}: 0 rows\n"
    assert [path.name for path in out.iterdir()] == ["verdicts.csv"]
    refused = commands.run("journal", "export", journal, "--to", journal)
    assert "nothing can be exported to" in sentence(refused, 2)
    assert commands.run("journal", "export", journal, "--table", "secrets").code == 2


##### backup and restore


def test_a_backup_is_restored(commands: Commands) -> None:
    """And nothing is overwritten; a damaged one says how to take what comes before."""
    journal = commands.folder / "bot.journal"
    bench = small(journal)
    copy, back = commands.folder / "copy", commands.folder / "back.journal"

    assert commands.run("journal", "backup", journal, copy).out == f"{copy}: 5 records, verified\n"
    assert "exists, and nothing is overwritten" in sentence(commands.run("journal", "backup", journal, copy))
    restored = commands.run("journal", "restore", copy, back)
    assert restored.out == f"{back}: 5 records; the next run sends orders under ids of its own\n"
    assert "exists, and nothing is overwritten" in sentence(commands.run("journal", "restore", copy, back))
    assert Bench(back).rows() == bench.rows()
    Bench(copy).cut_payload(4)
    part = commands.folder / "part.journal"
    assert "--until 3 takes what comes before" in sentence(commands.run("journal", "restore", copy, part))
    assert commands.run("journal", "restore", copy, part, "--until", 3).out.startswith(f"{part}: 3 records")
    taken = open_journal(part)
    assert taken.last_seq == 3
    taken.close()


##### --journal


@pytest.mark.parametrize(
    ("journal", "words"),
    [
        ("mysql://root@127.0.0.1/x", "a journal cannot be kept at mysql://"),
        ("postgresql://nobody:secret@127.0.0.1:1/x", "postgresql://nobody@127.0.0.1:1/x cannot be used as a journal"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_sentence(commands: Commands, journal: str, words: str) -> None:
    """Without the password, and before anything is traded."""
    ended = commands.run("paper", *waves(commands, 60), "--speed", "max", "--once", "--json", "--journal", journal)

    assert ended.code != 0
    assert "Traceback" not in ended.err
    assert words in " ".join(ended.err.replace("│", " ").split())
    assert "secret" not in ended.err
