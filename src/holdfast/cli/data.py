"""The work of ``holdfast data``."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from holdfast.brokers.alpaca_endpoints import DATA_URL
from holdfast.cli.logs import configure_logs, tell
from holdfast.data.alpaca import AlpacaProvider
from holdfast.data.catalog import BARS, TICK, Catalog, Key, make_key
from holdfast.data.checks import Report
from holdfast.data.checks import check as check_shelf
from holdfast.data.download import Downloaded, check_source, make_plan
from holdfast.data.download import download as download_shelf
from holdfast.data.importing import guess_form, import_path, total
from holdfast.data.polygon import PolygonProvider
from holdfast.data.timeframes import day_of, zone_of
from holdfast.di.config import Config, load
from holdfast.di.places import account_keys, massive_key
from holdfast.model.enums import AssetClass
from holdfast.model.errors import BrokerRefusedError, ConfigurationError
from holdfast.net import Throttler, create_combined_throttler

Provider = AlpacaProvider | PolygonProvider


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a download, as they were given."""

    symbols: str
    start: str
    end: str | None
    timeframe: str
    kind: str
    provider: str
    feed: str | None
    actions: bool
    mix: bool
    config: Path | None


def split(text: str) -> list[str]:
    """``SPY,QQQ`` as a list, each once.

    Raises:
        ConfigurationError: There is none.
    """
    found = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        message = "--symbols is empty: expected one such as SPY, or several with commas"
        raise ConfigurationError(message)
    return found


def day(name: str, text: str) -> date:
    """``2024-01-02`` as a date.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        message = f"{name} {text!r} is no day; expected YYYY-MM-DD"
        raise ConfigurationError(message) from None


def _bars(disable: bool = False) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=disable,
    )


def _print(value: Any) -> None:
    typer.echo(msgspec.json.encode(value).decode())


# ------------------------------------------------------------------------------------- download


def download(root: Path, options: Download, *, as_json: bool) -> None:
    """Download what is asked for, and say what was done."""
    configure_logs()
    timeframe = options.timeframe if options.kind == BARS else TICK
    keys = [make_key(symbol, options.kind, timeframe) for symbol in split(options.symbols)]
    start = day("--start", options.start)
    end = None if options.end is None else day("--end", options.end)
    config = load(options.config)
    provider = make_provider(options, config, create_combined_throttler(config.limits))
    done = asyncio.run(_download(Catalog(root, create=True), provider, keys, start, end, options))
    if as_json:
        _print({"catalog": str(root), "series": [_as_row(key, what, warning) for key, what, warning in done]})
        return
    for key, what, warning in done:
        put_right = ", ".join(
            f"{count} {name.replace('_', ' ')}" for name, count in msgspec.structs.asdict(what.counts).items() if count
        )
        typer.echo(
            f"{key}: {what.parts} new parts with {what.rows} rows; {what.skipped} were complete already"
            + (f"; put right: {put_right}" if put_right else "")
        )
        if warning:
            tell(f"  {warning}")


def make_provider(options: Download, config: Config, throttler: Throttler) -> Provider:
    """The provider that was asked for, with its keys.

    Raises:
        ConfigurationError: A key is missing; names where it is looked for.
    """
    if options.provider == "polygon":
        return PolygonProvider(massive_key(config), throttler, base_url=config.polygon.base_url, adjusted=False)
    alpaca = config.alpaca
    return AlpacaProvider(
        *account_keys(config), throttler, feed=options.feed or alpaca.feed, base_url=alpaca.data_url or DATA_URL
    )


Done = list[tuple[Key, Downloaded, str]]


async def _download(
    catalog: Catalog, provider: Provider, keys: list[Key], start: date, end: date | None, options: Download
) -> Done:
    done: Done = []
    try:
        with catalog.writing(), _bars() as progress:
            for key in keys:
                last = end or day_of(provider.horizon, zone_of(key.asset_class))
                check_source(catalog.shelf(key), provider.source(key.symbol), mix=options.mix)
                plan = make_plan(catalog.shelf(key), start, last, provider.horizon)
                task = progress.add_task(str(key), total=plan.parts, note="")
                rows = 0

                def on_part(part: str, count: int, task: Any = task) -> None:
                    nonlocal rows
                    rows += count
                    progress.update(task, advance=1, note=f"{part}  {rows:,} rows")

                found = await download_shelf(
                    catalog, provider, key, start, last, horizon=provider.horizon, on_part=on_part, mix=options.mix
                )
                warning = ""
                if options.actions and key.kind == BARS and key.asset_class is AssetClass.US_EQUITY:
                    warning = await _get_actions(catalog, provider, key.symbol, start)
                done.append((key, found, warning))
    finally:
        await provider.aclose()
    return done


async def _get_actions(catalog: Catalog, provider: Provider, symbol: str, start: date) -> str:
    """All splits and dividends since the first day: later ones change how earlier prices are read."""
    today = day_of(provider.horizon, zone_of(AssetClass.US_EQUITY))
    try:
        catalog.write_actions(symbol, await provider.get_actions(symbol, start, today), start, today)
    except BrokerRefusedError as error:
        return f"splits and dividends of {symbol} were not had, so its prices can be read raw only: {error}"
    return ""


def _as_row(key: Key, what: Downloaded, warning: str) -> dict[str, Any]:
    counts = msgspec.structs.asdict(what.counts)
    row = {**key._asdict(), "parts": what.parts, "rows": what.rows, "skipped": what.skipped, **counts}
    return {**row, "warning": warning} if warning else row


# ------------------------------------------------------------------------------------- import, ls, check


def import_files(
    root: Path, path: Path, form: str, symbols: str | None, timeframe: str | None, *, mix: bool, as_json: bool
) -> None:
    """Import what is there, and say what was done."""
    configure_logs()
    form = guess_form(path) if form == "auto" else form
    wanted = [] if symbols is None else split(symbols)
    catalog = Catalog(root, create=True)
    with catalog.writing(), _bars() as progress:
        task = progress.add_task(path.name, total=None, note="")

        def on_file(name: str) -> None:
            progress.update(task, advance=1, note=name)

        done = total(import_path(catalog, path, form, wanted, timeframe, mix=mix, on_file=on_file))
    if as_json:
        series = [{**one.key._asdict(), "parts": one.parts, "rows": one.rows, "left_out": one.left_out} for one in done]
        _print({"catalog": str(root), "form": form, "series": series})
        return
    for one in done:
        typer.echo(
            f"{one.key}: {one.rows} rows in {one.parts} parts"
            + (f"; {one.left_out} suspicious ticks were left out" if one.left_out else "")
        )


def show(root: Path, *, as_json: bool) -> None:
    """One line a series."""
    catalog = Catalog(root)
    rows: list[dict[str, Any]] = []
    for key in catalog.names():
        parts = catalog.shelf(key).parts
        names = list(parts)
        rows.append(
            {
                **key._asdict(),
                "first": names[0] if names else "",
                "last": names[-1] if names else "",
                "parts": len(parts),
                "empty": sum(1 for part in parts.values() if not part.rows),
                "rows": sum(part.rows for part in parts.values()),
                "bytes": sum(path.stat().st_size for path in catalog.shelf(key).folder.glob("*.parquet")),
                "sources": sorted({part.source for part in parts.values()}),
                "actions": len(catalog.read_actions(key.symbol) or ()),
            }
        )
    if as_json:
        _print({"catalog": str(root), "series": rows})
        return
    if not rows:
        typer.echo(f"{root}: the catalog is empty")
    for row in rows:
        typer.echo(
            f"{row['symbol']:<10} {row['kind']:<7} {row['timeframe']:<6} {row['first']} to {row['last']}  "
            f"{row['rows']:>12,} rows in {row['parts']} parts ({row['empty']} empty), {row['bytes'] / 1e6:.1f} MB, "
            f"{row['actions']} actions, from {', '.join(row['sources'])}"
        )


def check(root: Path, symbols: str | None, *, max_gap: int, spike: float | None, as_json: bool) -> bool:
    """Check what is there; whether nothing is wrong."""
    catalog = Catalog(root)
    wanted = None if symbols is None else split(symbols)
    keys = [key for key in catalog.names() if wanted is None or key.symbol in wanted]
    missing = sorted(set(wanted or ()) - {key.symbol for key in keys})
    if missing:
        message = f"{root}: there is nothing of {', '.join(missing)}; holdfast data ls shows what there is"
        raise ConfigurationError(message)
    reports: list[Report] = []
    with _bars() as progress:
        task = progress.add_task("checking", total=len(keys), note="")
        for key in keys:
            progress.update(task, note=str(key))
            reports.append(check_shelf(catalog, key, max_gap=max_gap, spike=spike))
            progress.update(task, advance=1)
    wrong = sum(len(report.findings) for report in reports)
    if as_json:
        _print({"catalog": str(root), "findings": wrong, "series": reports})
        return not wrong
    for report in reports:
        verdict = f"{len(report.findings)} findings" if report.findings else "nothing is wrong"
        typer.echo(
            f"{report.series}: {report.rows:,} rows in {report.parts} parts, {report.outside:,} outside the sessions: {verdict}"
        )
        for finding in report.findings:
            typer.echo(f"  {finding.kind:<8} {finding.place}  {finding.what}")
    return not wrong
