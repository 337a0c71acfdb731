"""``holdfast data ...``: get market data, keep it in a catalog, look at it, check it."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Call = Callable[[Callable[[], None]], None]

_Catalog = Annotated[Path, typer.Option("--catalog", metavar="DIR", help="The catalog's folder.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, and nothing else on stdout.")]
_Mix = Annotated[
    bool, typer.Option("--mix", help="Let one series hold data of several sources (they differ: think first).")
]


class Provider(StrEnum):
    """From whom."""

    ALPACA = "alpaca"
    POLYGON = "polygon"


class Kind(StrEnum):
    """What."""

    BARS = "bars"
    TRADES = "trades"
    QUOTES = "quotes"


class Form(StrEnum):
    """In which form files are."""

    AUTO = "auto"
    CSV = "csv"
    PARQUET = "parquet"
    LEAN = "lean"


def make_app(call: Call) -> typer.Typer:
    """The group of commands. ``call`` runs the work of each, and turns its failures into a sentence and an exit code."""
    app = typer.Typer(help="Download, import, list and check market data.", no_args_is_help=True)

    @app.command(short_help="Download history into a catalog; resumable.")
    def download(
        symbols: Annotated[
            str,
            typer.Option("--symbols", "--symbol", metavar="SYMBOL,...", help="Whose data, e.g. SPY,QQQ or BTC/USD."),
        ],
        start: Annotated[str, typer.Option("--start", metavar="YYYY-MM-DD", help="The first day.")],
        end: Annotated[
            str | None,
            typer.Option("--end", metavar="YYYY-MM-DD", help="The last day, included; default: the last that is over."),
        ] = None,
        timeframe: Annotated[
            str, typer.Option("--timeframe", metavar="LENGTH", help="Length of the bars: 1Min, 5Min, 1Hour, 1Day, ...")
        ] = "1Min",
        kind: Annotated[Kind, typer.Option("--kind", help="What to get.")] = Kind.BARS,
        provider: Annotated[
            Provider, typer.Option("--provider", help="From whom; its keys come from the environment or --config.")
        ] = Provider.ALPACA,
        catalog: _Catalog = Path("catalog"),
        feed: Annotated[
            str | None,
            typer.Option(
                "--feed", metavar="FEED", help="Alpaca's feed of shares: iex, sip, ...; default: alpaca.feed."
            ),
        ] = None,
        actions: Annotated[
            bool, typer.Option("--actions/--no-actions", help="Get splits and dividends too, for adjusting.")
        ] = True,
        mix: _Mix = False,
        config: Annotated[
            Path | None, typer.Option("--config", metavar="FILE", help="TOML file with settings.")
        ] = None,
        json: _Json = False,
    ) -> None:
        """Download history into a catalog; interrupted at any moment, it goes on where it stopped.

        Prices are stored as they were traded. Days that are complete already are not asked for again, and a day that is not
        over is not stored.
        """
        from holdfast.cli import data as work  # noqa: PLC0415 - commands import what they need, so that --help is quick

        options = work.Download(
            symbols=symbols,
            start=start,
            end=end,
            timeframe=timeframe,
            kind=kind.value,
            provider=provider.value,
            feed=feed,
            actions=actions,
            mix=mix,
            config=config,
        )
        call(lambda: work.download(catalog, options, as_json=json))

    @app.command(name="import")
    def import_(
        path: Annotated[Path, typer.Argument(metavar="PATH", help="A file, or a folder of files.")],
        form: Annotated[
            Form, typer.Option("--form", help="How the files are written; auto goes by their names.")
        ] = Form.AUTO,
        symbols: Annotated[
            str | None,
            typer.Option(
                "--symbols",
                "--symbol",
                metavar="SYMBOL,...",
                help="Whose data; CSV needs it, the others may say it themselves.",
            ),
        ] = None,
        timeframe: Annotated[
            str | None,
            typer.Option("--timeframe", metavar="LENGTH", help="Length of the bars; default: their smallest step."),
        ] = None,
        catalog: _Catalog = Path("catalog"),
        mix: _Mix = False,
        json: _Json = False,
    ) -> None:
        """Put files into a catalog: CSV, Parquet, or LEAN's zipped CSV. It replaces the days that the files cover."""
        from holdfast.cli import data as work  # noqa: PLC0415 - see download

        call(lambda: work.import_files(catalog, path, form.value, symbols, timeframe, mix=mix, as_json=json))

    @app.command(name="ls")
    def list_(catalog: _Catalog = Path("catalog"), json: _Json = False) -> None:
        """List what a catalog holds."""
        from holdfast.cli import data as work  # noqa: PLC0415 - see download

        call(lambda: work.show(catalog, as_json=json))

    @app.command(short_help="Look for damage, holes, duplicates and bad ticks.")
    def check(
        symbols: Annotated[
            str | None,
            typer.Option("--symbols", "--symbol", metavar="SYMBOL,...", help="Only these; default: everything."),
        ] = None,
        max_gap: Annotated[
            int, typer.Option("--max-gap", min=0, metavar="BARS", help="How many bars in a row a session may lack.")
        ] = 30,
        spike: Annotated[
            float | None,
            typer.Option(
                "--spike",
                min=0.0,
                metavar="FRACTION",
                help="How far a bar may be from its neighbours; default: 0.1, of days 0.4.",
            ),
        ] = None,
        catalog: _Catalog = Path("catalog"),
        json: _Json = False,
    ) -> None:
        """Look for damage, holes, duplicates, bad ticks and gaps, by the exchange's calendar.

        Exit code 0 where nothing is wrong; 1 with each place where something is.
        """
        from holdfast.cli import data as work  # noqa: PLC0415 - see download

        def run() -> None:
            if not work.check(catalog, symbols, max_gap=max_gap, spike=spike, as_json=json):
                raise typer.Exit(1)

        call(run)

    return app
