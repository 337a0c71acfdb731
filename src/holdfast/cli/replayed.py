"""``holdfast backtest`` and ``holdfast venue``: recorded markets, in-process and as a process."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import typer

from holdfast.backtest import Backtest
from holdfast.cli.logs import configure_logs
from holdfast.cli.market import Market, parse_params, parse_speed
from holdfast.di.assembly import make_kernel, make_strategies
from holdfast.di.config import load
from holdfast.di.report import summary
from holdfast.model.errors import ConfigurationError
from holdfast.venue import VenueConfig, default_asset, serve
from holdfast.venue.faults import Scenario, read_scenario
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


async def venue(
    market: Market,
    *,
    speed: str,
    port: int,
    admin_port: int,
    book: Path | None,
    exit_with_parent: bool,
    scenario: Path | None = None,
    rate_limit: int = 200,
    ticks: bool = True,
    basic_plan: bool = False,
    quotes: Path | None = None,
    trades: Path | None = None,
) -> None:
    """Serve until told to stop."""
    configure_logs()
    pace = parse_speed(speed)
    if not market.is_given and market.symbol is not None:
        message = "--symbol needs --data: which file are the bars in?"
        raise ConfigurationError(message)
    config = VenueConfig(
        port=port,
        admin_port=admin_port,
        speed="max" if isinstance(pace, str) else pace,
        book=book,
        cash=market.cash,
        participation=market.participation_limit,
        spread_bps=market.spread_bps,
        exit_with_parent=exit_with_parent,
        rate_limit=rate_limit or None,
        ticks=ticks,
        basic_plan=basic_plan,
        scenario=Scenario() if scenario is None else read_scenario(scenario),
    )
    if quotes is None and trades is None:
        await serve(config, market.load())
        return
    from holdfast.data.tick_files import read_quotes, read_trades, recorded_market  # noqa: PLC0415 - loads a calendar

    series, recorded = recorded_market(
        market.load() if market.is_given else {},
        {} if quotes is None else read_quotes(quotes),
        {} if trades is None else read_trades(trades),
    )
    await serve(config, series, recorded=recorded)
