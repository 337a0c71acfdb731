"""The options that only ``holdfast venue`` has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SpeedOption = Annotated[
    str,
    typer.Option(
        "--speed",
        metavar="NUMBER|max",
        help="How many times faster than real its time runs, from the first trade stream on; max: it stands still "
        "until a bot drives it in lock-step.",
    ),
]
PortOption = Annotated[
    int,
    typer.Option(
        "--port", metavar="PORT", min=0, max=65535, help="Of Alpaca's APIs and streams; 0 takes any free one."
    ),
]
AdminPortOption = Annotated[
    int,
    typer.Option(
        "--admin-port",
        metavar="PORT",
        min=0,
        max=65535,
        help="Of time, halts, prices and faults; 0 takes any free one.",
    ),
]
BookOption = Annotated[
    Path | None,
    typer.Option("--book", metavar="FILE", help="In which its book survives a crash; default: a temporary one."),
]
RateLimitOption = Annotated[
    int,
    typer.Option(
        "--rate-limit",
        min=0,
        metavar="NUMBER",
        help="Trading requests that an account has a minute of the venue's time; 0 refuses none.",
    ),
]
ScenarioOption = Annotated[
    Path | None,
    typer.Option("--scenario", metavar="FILE", help="TOML or JSON file of faults that stand from the beginning."),
]
ParentOption = Annotated[bool, typer.Option("--exit-with-parent", help="End when standard input ends.")]

TicksOption = Annotated[
    bool,
    typer.Option(
        "--ticks/--no-ticks",
        help="At a speed: quotes and trades inside each bar, and orders meet them; or bars alone, as in a backtest.",
    ),
]

BasicPlanOption = Annotated[
    bool,
    typer.Option("--basic-plan", help="Market data of Alpaca's free plan: no recent SIP, 30 symbols a stream."),
]

QuotesOption = Annotated[
    Path | None,
    typer.Option(
        "--quotes", metavar="FILE", help="At a speed: CSV of recorded quotes (ts,symbol,bid,bid_size,ask,ask_size)."
    ),
]
TradesOption = Annotated[
    Path | None,
    typer.Option(
        "--trades",
        metavar="FILE",
        help="At a speed: CSV of recorded trades (ts,symbol,price,size); of symbols without bars they make them.",
    ),
]
