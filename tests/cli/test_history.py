"""``holdfast replay`` and ``holdfast explain``, as their user meets them: on the journal of a real session."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import msgspec

from holdfast.journal import JournalReader
from holdfast.model.commands import Command, SubmitOrder
from holdfast.model.events import OrderReleased, StateHashed
from tests.cli.test_bad_input import assert_one_sentence
from tests.e2e.helpers import SAMPLE_SYMBOL, Commands, save_waves


def a_session(commands: Commands) -> Path:
    """The journal of a session at full speed, on waves that the strategy trades."""
    journal = commands.folder / "journal"
    market = ["--data", save_waves(commands.folder / "waves.csv", 120), "--symbol", SAMPLE_SYMBOL]
    done = commands.run("paper", *market, "--speed", "max", "--once", "--json", "--journal", journal)
    assert len(done.json["orders"]) >= 2
    return journal


def change_a_byte(journal: Path, seq: int) -> None:
    """In the middle of a record's payload."""
    with contextlib.closing(sqlite3.connect(journal)) as database:
        (payload,) = database.execute("SELECT payload FROM records WHERE seq = ?", (seq,)).fetchone()
        place = len(payload) // 2
        broken = bytes([*payload[:place], payload[place] ^ 0x01, *payload[place + 1 :]])
        database.execute("UPDATE records SET payload = ? WHERE seq = ?", (broken, seq))
        database.commit()


def test_p8_a_session_is_replayed_explained_restarted_and_found_damaged(commands: Commands) -> None:
    """Exit 0 while all is the same; a clear sentence for an order that is not there, and for a byte that was changed."""
    journal = a_session(commands)
    with JournalReader(journal) as reader:
        contents = [record.content for record in reader.records()]
    submits = [
        c.intent for content in contents if isinstance(content, tuple) for c in content if isinstance(c, SubmitOrder)
    ]
    released = [content.client_order_id for content in contents if isinstance(content, OrderReleased)]
    assert released == [intent.client_order_id for intent in submits]
    assert isinstance(contents[-1], StateHashed)

    found = commands.run("replay", journal, "--json").json
    assert found["same"] is True
    assert (found["commands_compared"] > 5, found["hashes_compared"]) == (True, 1)
    assert [run["compared"] for run in found["epochs"]] == [True]
    said = commands.run("replay", journal)
    assert (said.code, said.err) == (0, "")
    assert "the journal gives the same again" in said.out

    life = commands.run("explain", journal, "1", "--json").json
    assert life["order"]["client_order_id"] == submits[0].client_order_id
    assert [step["what"] for step in life["timeline"]][:5] == ["cause", "taken", "decided", "durable", "released"]
    assert {guard["name"] for guard in life["guards"]} >= {"stoploss_guard", "buying_power", "symbol_rules"}
    told = commands.run("explain", journal, life["order"]["broker_id"])
    assert told.code == 0
    assert all(word in told.out for word in ("cause", "released", "closed", "buying_power", "passed", "took"))
    assert_one_sentence(commands.run("explain", journal, "999"), "no order '999'", submits[-1].client_order_id)

    change_a_byte(journal, 7)
    assert_one_sentence(commands.run("replay", journal), "journal record 7 is damaged", str(journal))
    assert_one_sentence(commands.run("explain", journal, "1"), "journal record 7 is damaged", str(journal))


def test_a_journal_that_was_falsified_is_told_by_its_first_difference(commands: Commands) -> None:
    """Checksums and all are right, and the kernel would not have said it: exit 1, with both."""
    journal = commands.folder / "false.journal"
    rewrite(a_session(commands), journal)
    done = commands.run("replay", journal)
    assert done.code == 1
    assert "Traceback" not in done.err
    assert "DIFFERENCE at record" in done.out
    assert '"reason":"falsified"' in done.out
    as_json = commands.run("replay", journal, "--json")
    assert as_json.code == 1
    values = msgspec.json.decode(as_json.out)
    assert values["same"] is False
    assert "falsified" in values["difference"]["recorded"]
    assert "falsified" not in values["difference"]["computed"]


def rewrite(journal: Path, copy: Path) -> None:
    """The same journal in a new file, with another reason in the first order."""
    import asyncio  # noqa: PLC0415 - of this helper alone

    from holdfast.journal import EpochRecord, SqliteJournal  # noqa: PLC0415 - as above

    async def run() -> None:
        changed = False
        target = SqliteJournal(copy)
        with JournalReader(journal) as reader:
            for record in reader.records():
                content = record.content
                if isinstance(content, EpochRecord):
                    target.append_epoch(content)
                elif not isinstance(content, tuple):
                    target.append_event(content)
                else:
                    commands: list[Command] = []
                    for command in content:
                        if isinstance(command, SubmitOrder) and not changed:
                            changed = True
                            intent = msgspec.structs.replace(command.intent, reason="falsified")
                            commands.append(msgspec.structs.replace(command, intent=intent))
                        else:
                            commands.append(command)
                    target.append_commands(commands)
        await target.sync()
        target.close()

    asyncio.run(run())


def test_what_is_no_journal_is_one_sentence(commands: Commands) -> None:
    """A file that is not there, and one that is something else."""
    other = commands.folder / "notes.txt"
    other.write_text("these are not the records that you are looking for\n" * 100)
    for command in (("replay",), ("explain",)):
        rest = ("1",) if command == ("explain",) else ()
        assert_one_sentence(commands.run(*command, commands.folder / "nothing", *rest), "nothing")
        assert_one_sentence(commands.run(*command, other, *rest), "notes.txt")
    assert not (commands.folder / "nothing").exists()
