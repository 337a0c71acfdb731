"""``holdfast venue``: recorded markets, served by a process of their own."""

from __future__ import annotations

from pathlib import Path

from holdfast.cli.market import Market, parse_speed
from holdfast.model.errors import ConfigurationError
from holdfast.venue import VenueConfig, serve
from holdfast.venue.faults import Scenario, read_scenario


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
