"""``holdfast backtest``: recorded markets, in this process."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import typer

from holdfast.backtest import Backtest
from holdfast.cli.logs import configure_logs
from holdfast.cli.market import Market, parse_params
from holdfast.di.assembly import make_kernel, make_strategies
from holdfast.di.config import load
from holdfast.di.report import summary
from holdfast.venue import default_asset
from holdfast.venue.matching.engine import EngineSettings, MatchingEngine


def backtest(
    config_path: Path | None, market: Market, strategy: str | None, params: tuple[str, ...], *, as_json: bool
) -> None:
    """Run a backtest and print where it ended."""
    configure_logs()
    series = market.load()
    settings: dict[str, Any] = {"symbols": tuple(series)}
    if strategy is not None:
        settings["source"] = strategy
    if params:
        settings["params"] = parse_params(params)
    config = load(config_path, {"strategy": settings})
    kernel = make_kernel(config, make_strategies(config))
    engine = MatchingEngine(
        {symbol: default_asset(symbol) for symbol in series},
        cash=market.cash,
        settings=EngineSettings(participation=market.participation_limit, spread_bps=market.spread_bps),
    )
    cancels = config.shutdown.open_orders == "cancel"
    result = Backtest(kernel, engine, series, cancel_open_orders=cancels).run()
    outcome = summary(result.kernel)
    if as_json:
        typer.echo(msgspec.json.encode(outcome).decode())
        return
    profits = [Decimal(trade["profit"]) for trade in outcome["trades"]]
    won = sum(profit > 0 for profit in profits)
    typer.echo(
        f"{outcome['bars']} bars, {outcome['signals']} signals, {len(outcome['orders'])} orders, {len(profits)} trades "
        f"({won} won), profit {sum(profits)} USD, equity {outcome['equity']} USD"
    )
    for guard, count in outcome["blocked"].items():
        typer.echo(f"  blocked by {guard}: {count}")
