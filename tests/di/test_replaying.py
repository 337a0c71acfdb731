"""A journal is replayed by itself: its records say which kernel decided, and that one is made again (P8)."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.di import load
from holdfast.di.assembly import kernel_settings
from holdfast.di.config import Config, build
from holdfast.di.epochs import (
    Versions,
    config_hash,
    epoch_record,
    recipe_of,
    settings_of,
    strategy_versions,
    versions_of,
)
from holdfast.di.replaying import replay_journal
from holdfast.journal import EpochRecord, JournalReader, Record, SqliteJournal
from holdfast.model.errors import ConfigurationError, JournalError
from holdfast.runner.lockstep import LockstepClock
from holdfast.runner.replay import Replay
from holdfast.testing import FaultyJournal, InProcessBot
from holdfast.time import ScaledClock
from tests.runner.helpers import bar

COIN = "BTC/USD"
PARAMS = {"quantity": 0.5, "deviations": 0.5, "warmup_bars": 2}


def a_config(**changes: Any) -> Config:
    """A coin, traded often, without protections that would stop it."""
    strategy = {"symbols": (COIN,), "params": PARAMS}
    return load(None, {"strategy": strategy, "protections": {"cooldown_period": False}, **changes})


async def a_run(config: Config, minutes: range, journal: FaultyJournal | None = None, **parts: Any) -> InProcessBot:
    """One run of a bot that is made as the container makes it, and stopped cleanly."""
    settings = settings_of(config, None)
    recipe = recipe_of(settings)
    bot = InProcessBot(recipe.strategies, make=recipe.kernel, journal=journal, snapshot_every=50, **parts)
    recovery = bot.runner.recover(config=config_hash(settings), strategy=strategy_versions(bot.strategies))
    epoch = 1 if recovery.last_epoch is None else recovery.last_epoch.epoch + 1
    now = max(bot.clock.now_ns(), bot.kernel.portfolio.now_ns)
    await bot.runner.begin(epoch_record(epoch=epoch, started_at=now, settings=settings, strategies=bot.strategies))
    await bot.settle()
    await bot.play(*(bar(minute, 40_000.0 + minute % 7 * 50 + minute % 3, symbol=COIN) for minute in minutes))
    await bot.runner.shut_down(cancel_orders=True, patience_seconds=0.0)
    await bot.journal.sync()
    return bot


async def runs(*configs: Config) -> InProcessBot:
    """One run after the other on one journal."""
    bot = await a_run(configs[0], range(1, 40))
    for number, config in enumerate(configs[1:], 1):
        minutes = range(40 * number, 40 * number + 39)
        bot = await a_run(config, minutes, bot.journal.crash(), engine=bot.engine, clock=bot.clock)
    return bot


def replayed(bot: InProcessBot, **given: Any) -> Replay:
    """The journal of a bot, by itself."""
    return replay_journal(bot.journal.records, **given)


def compared(found: Replay) -> list[bool]:
    """Which runs were."""
    return [not run.incomparable for run in found.epochs]


# -- the journal alone -----------------------------------------------------------------------------


async def test_p8_a_journal_is_replayed_by_itself() -> None:
    """Strategy, parameters and guards are those that it has recorded."""
    bot = await runs(a_config(), a_config())
    assert bot.kernel.counters.executions > 10
    found = replayed(bot)

    assert found.difference is None
    assert compared(found) == [True, True]
    assert all(run.commands > 20 and run.hashes >= 1 for run in found.epochs)


async def test_runs_of_several_configurations_are_each_compared_by_their_own() -> None:
    """One kernel for each kind of run; each follows what the other decided, as the restart did."""
    other = a_config(risk={"max_order_notional": 10_000})
    bot = await runs(a_config(), other, a_config())
    found = replayed(bot)

    assert found.difference is None
    assert compared(found) == [True, True, True]
    blocked = [run.epoch.config for run in found.epochs if run.epoch is not None]
    assert blocked[0] == blocked[2] != blocked[1]


def with_epochs(records: Sequence[Record], changes: Mapping[int, dict[str, Any]]) -> Callable[[], list[Record]]:
    """The same records with other heads of runs."""

    def change(record: Record) -> Record:
        content = record.content
        if isinstance(content, EpochRecord) and content.epoch in changes:
            return Record(record.seq, msgspec.structs.replace(content, **changes[content.epoch]))
        return record

    return lambda: [change(record) for record in records]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"code": "0.0.1"}, "code: 0.1.0 here, 0.0.1 there"),
        ({"python": "2.7"}, "2.7 there"),
        ({"platform": "an abacus"}, "an abacus there"),
        ({"strategy": "VwapMeanReversion@0"}, "strategy: VwapMeanReversion@1 here, VwapMeanReversion@0 there"),
        ({"config": "0123"}, "0123 there"),
        ({"settings": ""}, "holds no settings"),
        ({"settings": "{}"}, "not of this version"),
    ],
)
async def test_a_run_of_other_versions_is_named_and_followed(change: dict[str, Any], words: str) -> None:
    """What differs is said; the other runs are compared all the same."""
    bot = await runs(a_config(), a_config())
    found = replay_journal(with_epochs(list(bot.journal.records()), {1: change}))

    assert compared(found) == [False, True]
    assert words in "; ".join(found.epochs[0].incomparable)
    assert found.difference is None


async def test_a_journal_of_which_nothing_can_be_compared_is_read_to_its_end() -> None:
    """Every record is whole, and every decision can be followed."""
    bot = await runs(a_config())
    found = replay_journal(with_epochs(list(bot.journal.records()), {1: {"settings": ""}}))
    assert compared(found) == [False]
    assert found.difference is None
    assert found.epochs[0].events > 50


# -- what is given instead -------------------------------------------------------------------------


async def test_another_configuration_is_laid_beside_and_counted(tmp_path: Path) -> None:
    """What it would decide otherwise is no difference: it did not decide."""
    file = tmp_path / "other.toml"
    file.write_text(
        f'[strategy]\nsymbols = ["{COIN}"]\nparams = {{quantity = 0.5, deviations = 0.5, warmup_bars = 2}}\n'
        "[risk]\nmax_order_notional = 10000\n[protections]\ncooldown_period = false\n"
    )
    bot = await runs(a_config())
    found = replayed(bot, config=file)
    assert compared(found) == [False]
    assert "config: " in found.epochs[0].incomparable[0]
    assert found.epochs[0].differences > 0

    file.write_text(file.read_text().replace("[risk]\nmax_order_notional = 10000\n", ""))
    same = replayed(bot, config=file)
    assert (compared(same), same.difference) == ([True], None)


async def test_a_strategy_that_was_handed_over_as_an_object_must_be_named() -> None:
    """The journal has its settings, and not its class: whoever names it says that this is it."""
    bot = await runs(a_config())
    (epoch,) = [record.content for record in bot.journal.records() if isinstance(record.content, EpochRecord)]
    settings = settings_of(a_config(), None, own_strategies=True)
    records = with_epochs(list(bot.journal.records()), {1: {"settings": settings, "config": config_hash(settings)}})
    alone = replay_journal(records)
    named = replay_journal(records, strategy="holdfast.strategies:VwapMeanReversion")

    assert compared(alone) == [False]
    assert "expected --strategy" in alone.epochs[0].incomparable[0]
    assert compared(named) == [True]
    assert named.difference is None
    assert epoch.config != config_hash(settings)


async def test_another_strategy_is_no_comparison() -> None:
    """Its name and version are others."""
    bot = await runs(a_config())
    with pytest.raises(ConfigurationError, match="parameters do not fit"):
        replayed(bot, strategy="examples/own_strategy.py:Dip")


# -- damage ----------------------------------------------------------------------------------------


async def test_a_single_changed_byte_in_any_payload_is_found(tmp_path: Path) -> None:
    """In the first record, in the last, and in between: nothing is replayed beyond it, and the record is named."""
    path = tmp_path / "bot.journal"
    bot = await a_run(a_config(), range(1, 20), FaultyJournal(SqliteJournal(path)))
    bot.journal.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT seq, payload FROM records ORDER BY seq").fetchall()
        db.execute("PRAGMA journal_mode=DELETE")
    with JournalReader(path) as reader:
        assert replay_journal(reader.records).difference is None
    for number, (seq, payload) in enumerate([rows[0], *rows[1:-1:9], rows[-1]]):
        place = number * 7 % len(payload)
        broken = bytes([*payload[:place], payload[place] ^ 0x01, *payload[place + 1 :]])
        _write(path, seq, broken)
        with JournalReader(path) as reader, pytest.raises(JournalError, match=f"record {seq} is damaged"):
            replay_journal(reader.records)
        _write(path, seq, payload)


def _write(path: Path, seq: int, payload: bytes) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE records SET payload = ? WHERE seq = ?", (payload, seq))
        db.commit()


# -- settings --------------------------------------------------------------------------------------

SECRETS = {
    "alpaca": {"api_key": "KEY-SECRET", "api_secret": "VERY-SECRET"},
    "status": {"token": "TOKEN-SECRET-TOKEN"},
    "notify": {"system": ["https://example.com/HOOK-SECRET"]},
}


def test_no_secret_is_recorded() -> None:
    """Keys, tokens and webhooks stay out of a journal."""
    settings = settings_of(build({**SECRETS, "strategy": {"symbols": [COIN]}}), None)
    assert "SECRET" not in settings.upper().replace("API_SECRET", "")
    assert json.loads(settings)["strategy"]["symbols"] == [COIN]


def test_settings_make_the_same_kernel_again() -> None:
    """Limits, modes, protections and parameters, in whatever types they were given."""
    config = build(
        {
            "strategy": {"symbols": [COIN], "params": {"quantity": Decimal("0.10"), "warmup_bars": 5}},
            "risk": {"max_order_notional": "1234.50", "max_data_age": 90, "modes": {"daily_loss": "observe"}},
            "protections": {
                "cooldown_period": {"cooldown_duration": timedelta(minutes=7)},
                "daily_loss_limit": False,
                "stoploss_guard": {"max_stoplosses": 9, "lookback_period": 60},
            },
        }
    )
    settings = settings_of(config, ScaledClock(0, 30.0))
    recipe = recipe_of(settings)
    kernel, (strategy,) = recipe.kernel(recipe.strategies()), recipe.strategies()

    assert kernel.settings == kernel_settings(config, ScaledClock(0, 30.0))
    assert kernel.settings.submit_deadline == 150 * 10**9
    assert kernel.settings.reconcile_interval > 0
    assert kernel.gate.limits.max_order_notional == Decimal("1234.50")
    assert kernel.gate.limits.max_data_age == timedelta(seconds=90)
    assert dict(kernel.gate.limits.modes) == {"daily_loss": "observe"}
    names = {protection.name: protection.settings() for protection in kernel.protections.protections}
    assert "daily_loss_limit" not in names
    assert names["cooldown_period"]["cooldown_duration"] == timedelta(minutes=7)
    assert names["stoploss_guard"]["max_stoplosses"] == 9
    assert vars(strategy)["quantity"] == Decimal("0.10")
    assert config_hash(settings_of(recipe.config, ScaledClock(0, 30.0))) == config_hash(settings)


def test_the_hash_is_of_what_decides() -> None:
    """Another address or port decides the same; another limit, parameter or rate does not."""
    first = config_hash(settings_of(a_config(), LockstepClock(0)))
    address = {"base_url": "http://127.0.0.1:1"}
    assert config_hash(settings_of(a_config(alpaca=address, status={"port": 9}), None)) == first
    others = [
        settings_of(a_config(risk={"max_open_orders": 1}), None),
        settings_of(a_config(foreign="ignore"), None),
        settings_of(a_config(), ScaledClock(0, 1.0)),
        settings_of(a_config(strategy={"symbols": (COIN,), "params": {**PARAMS, "warmup_bars": 3}}), None),
        settings_of(a_config(), ScaledClock(0, 2.0)),
        settings_of(a_config(), None, own_strategies=True),
    ]
    assert len({first, *map(config_hash, others)}) == 7


def test_a_strategys_file_counts_by_its_name(tmp_path: Path) -> None:
    """The same file in another folder is the same strategy; it is recorded with its whole path."""
    found = []
    for name in ("a", "b"):
        place = tmp_path / name / "mine.py"
        settings = settings_of(a_config(strategy={"source": f"{place}:Mine", "symbols": (COIN,)}), None)
        found.append(config_hash(settings))
        assert json.loads(settings)["strategy"]["source"] == f"{place}:Mine"
    assert found[0] == found[1]


def test_versions_name_what_differs() -> None:
    """Each with both sides."""
    ours = versions_of(settings_of(a_config(), None), ())
    theirs = msgspec.structs.replace(ours, code="9.9", python="")
    assert ours.differences(ours) == ()
    assert ours.differences(theirs) == (f"code: {ours.code} here, 9.9 there", f"python: {ours.python} here, none there")
    assert (
        Versions.of(epoch_record(epoch=1, started_at=1, settings=settings_of(a_config(), None), strategies=())) == ours
    )
