"""``holdfast torture``: run the simulator over many seeds and say what it found."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from holdfast.di.strategy_loader import load_strategy
from holdfast.testing.sim.canaries import CANARIES
from holdfast.testing.sim.faults import FAULTS
from holdfast.testing.sim.scenario import EQUITIES
from holdfast.testing.sim.torture import CANARY_SEEDS, Catch, Tally, catch, torture
from holdfast.testing.sim.world import Result

# Of the log of a seed that failed: enough to see what led to it, little enough to read.
_TAIL_LINES = 40
_STORY_LINES = 60
_VIOLATIONS_SHOWN = 10


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line said."""

    first: int
    count: int
    strategy: str | None = None
    canary: bool = False
    json: bool = False


def run(options: Options) -> bool:
    """Torture, print, and say whether nothing was found.

    Raises:
        ConfigurationError: There is no such strategy.
        StrategyError: It cannot be made.
    """
    if options.canary:
        return _release_canaries(as_json=options.json)
    if options.strategy is not None:
        load_strategy(options.strategy, EQUITIES[:1], {})  # one sentence now rather than one a seed
    seeds = range(options.first, options.first + options.count)
    words = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    if not options.json:
        typer.echo(f"torture: {words}; repeat any of them with: {_command(options, 'SEED')}")
    tally, failed = Tally(), []
    for result in _with_progress(torture(seeds, strategy=options.strategy), options):
        tally.add(result)
        if result.violations:
            failed.append(result)
            if not options.json:
                _show_failure(result, options)
    if options.json:
        outcome = {
            **msgspec.structs.asdict(tally),
            "first_seed": options.first,
            "digest": result.digest if options.count == 1 else None,
            "failures": [{"seed": f.seed, "violations": f.violations} for f in failed],
        }
        typer.echo(msgspec.json.encode(outcome).decode())
    else:
        _show_tally(tally, result if options.count == 1 else None)
    return not failed


def _command(options: Options, seed: object) -> str:
    strategy = f" --strategy {options.strategy}" if options.strategy is not None else ""
    return f"holdfast torture --seed {seed}{strategy}"


def _with_progress(results: Iterator[Result], options: Options) -> Iterator[Result]:
    """On a terminal, say how far it is: on standard error, which is nobody's result."""
    shown = sys.stderr.isatty() and not options.json
    for number, result in enumerate(results, start=1):
        if shown:
            sys.stderr.write(f"\r{number} of {options.count} seeds")
            sys.stderr.flush()
        yield result
    if shown:
        sys.stderr.write("\r" + " " * 40 + "\r")


def _show_failure(result: Result, options: Options) -> None:
    typer.echo(f"\nseed {result.seed}: {len(result.violations)} violations")
    for violation in result.violations[:_VIOLATIONS_SHOWN]:
        typer.echo(f"  {violation}")
    if len(result.violations) > _VIOLATIONS_SHOWN:
        typer.echo(f"  ... and {len(result.violations) - _VIOLATIONS_SHOWN} more")
    order_id = next((word for text in result.violations for word in text.split() if _is_order(word)), "")
    story = [line for line in result.tail if order_id and order_id in line]
    if story:
        typer.echo(f"  what the log tells of {order_id}:")
        for line in story[-_STORY_LINES:]:
            typer.echo(f"    {line}")
    typer.echo("  the log's end:")
    for line in result.tail[-_TAIL_LINES:]:
        typer.echo(f"    {line}")
    typer.echo(f"  again: {_command(options, result.seed)}\n")


def _is_order(word: str) -> bool:
    head, dash, number = word.strip(",;:()").rpartition("-")
    return bool(dash) and len(head) >= 32 and number.isdigit()  # a journal id in hexadecimal, and a number


def _show_tally(tally: Tally, single: Result | None) -> None:
    table = Table(title="torture", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in (
        ("seeds", f"{tally.seeds}"),
        ("simulated days", f"{tally.days:.1f}"),
        ("bars", f"{tally.bars}"),
        ("orders", f"{tally.orders}"),
        ("fills", f"{tally.fills}"),
        ("journal records", f"{tally.records}"),
        ("crashes", f"{tally.crashes}"),
    ):
        table.add_row(name, value)
    for name in FAULTS:
        if tally.faults.get(name) and name != "crash":
            table.add_row(f"fault: {name.replace('_', ' ')}", f"{tally.faults[name]}")
    table.add_row("violations", f"{tally.violations}")
    console = Console(width=None if sys.stdout.isatty() else 80)
    console.print(table)
    if single is not None:
        typer.echo(f"digest {single.digest}")
    if tally.failed_seeds:
        typer.echo(f"failed seeds: {', '.join(map(str, tally.failed_seeds))}")


def _release_canaries(*, as_json: bool) -> bool:
    caught: list[Catch] = []
    for found in catch(CANARIES):
        caught.append(found)
        if not as_json:
            how = f"seed {found.seed}: {found.violation}" if found.seed is not None else "ESCAPED"
            typer.echo(f"{found.name:26} {how}")
    escaped = [found.name for found in caught if found.seed is None]
    if as_json:
        outcome = {"canaries": [msgspec.structs.asdict(found) for found in caught], "escaped": escaped}
        typer.echo(msgspec.json.encode(outcome).decode())
    elif escaped:
        typer.echo(f"{len(escaped)} of {len(caught)} escaped {CANARY_SEEDS} seeds: {', '.join(escaped)}")
    else:
        typer.echo(f"all {len(caught)} canaries were caught")
    return not escaped
