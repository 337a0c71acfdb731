"""``holdfast replay`` and ``holdfast explain``: what a journal proves, and what it tells of one order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from holdfast.cli.logs import configure_logs
from holdfast.di.explain import Life, explain
from holdfast.di.replaying import replay_journal
from holdfast.di.report import terms_values
from holdfast.journal import JournalReader
from holdfast.model.decimals import plain
from holdfast.model.timestamps import NS_PER_MS, format_rfc3339, to_datetime
from holdfast.runner.replay import EpochReplay, Replay

_PLACES_SHOWN = 600  # characters of a command in the report for people; --json has all of them


def show_replay(journal: str, *, config: Path | None, strategy: str | None, as_json: bool) -> None:
    """Replay a journal and say what was found.

    Raises:
        JournalError: It cannot be read, or a record is damaged; names the place.
        ConfigurationError: What was given makes no kernel.
        typer.Exit: Something was computed that is not what was recorded (exit code 1).
    """
    configure_logs(quiet=True)
    with JournalReader(journal) as reader:
        found = replay_journal(reader.records, config=config, strategy=strategy)
    if as_json:
        typer.echo(msgspec.json.encode(_replay_values(found)))
    else:
        _print_replay(found)
    if found.difference is not None:
        raise typer.Exit(1)


def show_order(journal: str, order: str, *, as_json: bool) -> None:
    """Tell one order's life.

    Raises:
        JournalError: The journal cannot be read, or a record is damaged; names the place.
        ConfigurationError: It has no such order.
    """
    configure_logs(quiet=True)
    with JournalReader(journal) as reader:
        life = explain(reader.records, order)
    if as_json:
        typer.echo(msgspec.json.encode(_life_values(life)))
    else:
        _print_life(life)


# -- replay -------------------------------------------------------------------------------------


def _replay_values(found: Replay) -> dict[str, Any]:
    compared = [run for run in found.epochs if not run.incomparable]
    return {
        "same": found.difference is None,
        "events": sum(run.events for run in found.epochs),
        "events_compared": sum(run.events for run in compared),
        "commands_compared": sum(run.commands for run in compared),
        "hashes_compared": sum(run.hashes for run in compared),
        "epochs": [_run_values(run) for run in found.epochs],
        "difference": found.difference,
    }


def _run_values(run: EpochReplay) -> dict[str, Any]:
    head = run.epoch
    return {
        "epoch": None if head is None else head.epoch,
        "seq": run.seq,
        "code": "" if head is None else head.code,
        "config": "" if head is None else head.config,
        "strategy": "" if head is None else head.strategy,
        "compared": not run.incomparable,
        "why_not": list(run.incomparable),
        "events": run.events,
        "commands": run.commands,
        "hashes": run.hashes,
        "would_differ": run.differences,
        "strategy_failures": run.failures,
    }


def _print_replay(found: Replay) -> None:
    for run in found.epochs:
        number = "before any run" if run.epoch is None else f"run {run.epoch.epoch}"
        if run.incomparable:
            why = "; ".join(run.incomparable)
            typer.echo(
                f"{number}: {run.events} events followed, not compared ({why}); "
                f"{run.differences} decisions would be others today"
            )
        else:
            typer.echo(f"{number}: {run.events} events, {run.commands} commands and {run.hashes} state hashes compared")
    difference = found.difference
    if difference is not None:
        typer.echo(
            f"DIFFERENCE at record {difference.seq}, event {_short(difference.event)}\n"
            f"  recorded  {_short(difference.recorded)}\n"
            f"  computed  {_short(difference.computed)}"
        )
        return
    compared = [run for run in found.epochs if not run.incomparable]
    events = sum(run.events for run in compared)
    if events:
        typer.echo(f"the journal gives the same again: {events} events in {len(compared)} of {len(found.epochs)} runs")
    else:
        typer.echo("every record is whole; nothing in this journal could be compared")


def _short(text: str) -> str:
    return text if len(text) <= _PLACES_SHOWN else text[:_PLACES_SHOWN] + "..."


# -- explain ------------------------------------------------------------------------------------


def _life_values(life: Life) -> dict[str, Any]:
    intent = life.intent
    return {
        "order": {
            "client_order_id": intent.client_order_id,
            "broker_id": life.broker_id,
            "symbol": intent.symbol,
            "side": intent.side.value,
            "quantity": plain(intent.quantity),
            "limit_price": None if intent.limit_price is None else plain(intent.limit_price),
            **terms_values(intent.terms),
            "strategy": intent.strategy_id,
            "reason": intent.reason,
            "status": life.status,
            "evidence": life.evidence,
        },
        "guards": [msgspec.structs.asdict(guard) for guard in life.guards],
        "guards_unknown": life.unknown_guards,
        "legs": [
            {**msgspec.structs.asdict(leg), "quantity": plain(leg.quantity), "filled": plain(leg.filled)}
            for leg in life.legs
        ],
        "timeline": [
            {"at": format_rfc3339(step.at), "seq": step.seq, "what": step.what, "detail": step.detail, "ms": after}
            for step, after in _with_waits(life)
        ],
        "took_ms": life.took,
    }


def _with_waits(life: Life) -> list[tuple[Any, float]]:
    """Each step with the milliseconds since the one before."""
    before = [life.steps[0], *life.steps]
    return [(step, (step.at - last.at) / NS_PER_MS) for step, last in zip(life.steps, before, strict=False)]


def _print_life(life: Life) -> None:
    intent = life.intent
    console = Console(highlight=False)
    title = f"{intent.side.value} {plain(intent.quantity)} {intent.symbol}, order {intent.client_order_id}"
    console.print(Text(f"{title}, venue's id {life.broker_id or 'not known'}"))
    table = Table(box=None, pad_edge=False)
    for name in ("time (UTC)", "+ms", "step", "detail", "record"):
        table.add_column(name, no_wrap=name != "detail", justify="right" if name in {"+ms", "record"} else "left")
    for step, after in _with_waits(life):
        # To the millisecond: the waits are beside it, and --json has every digit.
        moment = to_datetime(step.at).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
        cells = (moment, f"{after:,.1f}", step.what, step.detail, str(step.seq))
        table.add_row(*(Text(cell) for cell in cells))
    console.print(table)
    legs = Table("exit", "order", "venue's id", "price", "filled", "status", box=None, pad_edge=False)
    for leg in life.legs:
        filled = f"{plain(leg.filled)} of {plain(leg.quantity)}"
        of_leg = (leg.role, leg.client_order_id, leg.broker_id or "not known", leg.price, filled, leg.status)
        legs.add_row(*(Text(cell) for cell in of_leg))
    if life.legs:
        console.print(legs)
    if life.unknown_guards:
        console.print(Text(f"which guards were asked is not known: {life.unknown_guards}"))
    guards = Table("guard", "mode", "said", box=None, pad_edge=False)
    for guard in life.guards:
        guards.add_row(*(Text(cell) for cell in (guard.name, guard.mode, f"{guard.word} {guard.reason}".strip())))
    if life.guards:
        console.print(guards)
    if life.took:
        console.print(Text("took " + ", ".join(f"{name} {ms:,.1f} ms" for name, ms in life.took.items())))
