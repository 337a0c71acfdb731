"""``holdfast journal ...``: look at a journal, take it out for research, copy it, put it back."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Call = Callable[[Callable[[], None]], None]

_Journal = Annotated[
    str, typer.Argument(metavar="FILE_OR_URL", help="The journal: a file, or postgresql://USER@HOST/DATABASE.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


class Table(StrEnum):
    """What can be exported."""

    ORDERS = "orders"
    FILLS = "fills"
    TRADES = "trades"
    VERDICTS = "verdicts"


class Format(StrEnum):
    """As what."""

    CSV = "csv"
    PARQUET = "parquet"


def make_app(call: Call) -> typer.Typer:
    """The group of commands. ``call`` runs the work of each, and turns its failures into a sentence and an exit code."""
    app = typer.Typer(help="Look at a journal, export it, back it up, restore it.", no_args_is_help=True)

    @app.command(short_help="Read everything, and check every checksum.")
    def verify(journal: _Journal, json: _Json = False) -> None:
        """Read everything, check every number, checksum and message; exit 1 with the exact place if one does not fit."""
        from holdfast.cli import journal as work  # noqa: PLC0415 - commands import what they need, so that --help is quick

        call(lambda: work.verify(journal, as_json=json))

    @app.command(short_help="Show what a journal holds.")
    def stats(journal: _Journal, json: _Json = False) -> None:
        """Show what a journal holds: records by kind, runs, sizes, time span, orders, fills, snapshots."""
        from holdfast.cli import journal as work  # noqa: PLC0415 - see verify

        call(lambda: work.stats(journal, as_json=json))

    @app.command(short_help="Write orders, fills, trades and verdicts for research.")
    def export(
        journal: _Journal,
        to: Annotated[
            Path, typer.Option("--to", metavar="DIR", help="Folder for the files; made if it is not there.")
        ] = Path(),
        format: Annotated[  # noqa: A002 - the option's name
            Format, typer.Option("--format", help="csv, or parquet (needs the extra holdfast[parquet]).")
        ] = Format.CSV,
        table: Annotated[
            list[Table] | None, typer.Option("--table", help="Which; may be repeated. Default: all four.")
        ] = None,
    ) -> None:
        """Write orders, fills, trades and verdicts for research, one file each. Existing files are replaced."""
        from holdfast.cli import journal as work  # noqa: PLC0415 - see verify

        tables = tuple(dict.fromkeys(one.value for one in table or Table))
        call(lambda: work.export(journal, to, format.value, tables))

    @app.command()
    def backup(
        journal: _Journal,
        target: Annotated[Path, typer.Argument(metavar="TARGET", help="The file to make; it must not exist.")],
    ) -> None:
        """Copy a journal into one file, also while its bot runs. The copy is verified."""
        from holdfast.cli import journal as work  # noqa: PLC0415 - see verify

        call(lambda: work.backup(journal, target))

    @app.command()
    def restore(
        backup: Annotated[str, typer.Argument(metavar="BACKUP", help="What to read: a backup, or any other journal.")],
        target: Annotated[
            str,
            typer.Argument(metavar="TARGET", help="Where nothing is yet: a file, or postgresql://USER@HOST/DATABASE."),
        ],
        until: Annotated[
            int | None, typer.Option("--until", min=1, help="The last record to take, for what comes before a damage.")
        ] = None,
    ) -> None:
        """Make a journal of a backup. Nothing is overwritten."""
        from holdfast.cli import journal as work  # noqa: PLC0415 - see verify

        call(lambda: work.restore(backup, target, until))

    return app
