"""``holdfast paper`` and ``holdfast live``: what was asked for, and where it trades; then the bot begins."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

import msgspec

from holdfast.cli.logs import configure_logs
from holdfast.cli.market import Market, parse_params, parse_speed
from holdfast.cli.state_dir import default_journal, venue_book
from holdfast.cli.venue_process import VenueProcess, local_venue
from holdfast.di.config import Config, JournalConfig, load
from holdfast.journal import read_owner
from holdfast.journal.owner import owned
from holdfast.journal.places import Place
from holdfast.model.errors import ConfigurationError

__all__ = ["Market", "Options", "run"]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line said."""

    mode: Literal["paper", "live"]
    market: Market
    config: Path | None = None
    strategy: str | None = None
    params: tuple[str, ...] = ()
    speed: str = "300"
    venue: str | None = None
    journal: Place | None = None
    once: bool = False
    json: bool = False
    status_port: int | None = None
    open_orders: str | None = None
    live_accepted: bool = False
    resume: bool = False


async def run(options: Options) -> None:
    """Trade until the end of the data, Ctrl-C or a failure."""
    configure_logs(quiet=not options.json)
    parse_speed(options.speed)
    if isinstance(options.journal, Path) and options.journal.is_dir():
        message = f"--journal {options.journal} is a folder: expected a file"
        raise ConfigurationError(message)
    config = load(options.config, _overrides(options))
    if options.mode == "live":
        _require_confirmation(config, options)
    process: VenueProcess | None = None
    if options.mode == "paper" and _wants_own_venue(config, options):
        options.market.check_sample()
        book = None if config.journal.path is None else _free_book(config.journal.path)
        starting = asyncio.create_task(VenueProcess.start(options.market, parse_speed(options.speed), book))
        await asyncio.to_thread(_import_bot, config)
        process = await starting
        config = load(options.config, local_venue(_overrides(options), process.url))
    elif options.venue is not None:
        config = load(options.config, local_venue(_overrides(options), options.venue, keep_keys=True))
    if process is None and options.venue is None and config.journal.path is None:
        # At a venue that remembers, a bot must remember too.
        config = config.model_copy(update={"journal": JournalConfig(path=default_journal(options.mode))})
    from holdfast.cli import bot  # noqa: PLC0415 - see _import_bot

    if not config.symbols:
        symbols = (await bot.default_symbol(config),)
        config = config.model_copy(update={"strategy": config.strategy.model_copy(update={"symbols": symbols})})
    try:
        await bot.trade(config, options, process)
    finally:
        if process is not None:
            await process.stop()


def _import_bot(config: Config) -> None:
    """A bot takes as long to import as a venue to start, in a process of its own: they do it at the same time."""
    import holdfast.cli.bot  # noqa: PLC0415 - see above

    if config.status.enabled:
        import holdfast.web.server  # noqa: F401, PLC0415 - FastAPI is for whoever serves


def _free_book(journal: Place) -> Path:
    """Where the venue of this journal keeps its book. Who runs on the journal has the book, too, and is to be named first."""
    if (owner := read_owner(journal)) is not None:
        raise owned(str(journal), owner)
    return venue_book(journal)


# -- what is asked for --------------------------------------------------------------------------


def _overrides(options: Options) -> dict[str, Any]:
    values: dict[str, Any] = {"account": {"mode": options.mode}}
    strategy: dict[str, Any] = {}
    if options.market.symbols:
        strategy["symbols"] = options.market.symbols
    if options.strategy is not None:
        strategy["source"] = options.strategy
    if options.params:
        strategy["params"] = parse_params(options.params)
    if strategy:
        values["strategy"] = strategy
    if options.journal is not None:
        values["journal"] = {"path": options.journal}
    if options.status_port is not None:
        values["status"] = {"port": options.status_port}
    if options.open_orders is not None:
        values["shutdown"] = {"open_orders": options.open_orders}
    return values


def _wants_own_venue(config: Config, options: Options) -> bool:
    if options.venue is not None:
        if options.market.is_given:
            message = "give --venue, or --data or --synthetic to start one, not both"
            raise ConfigurationError(message)
        return False
    return options.market.is_given or (config.alpaca.api_key is None and config.alpaca.base_url is None)


def _require_confirmation(config: Config, options: Options) -> None:
    missing = []
    if not config.account.live_confirmed:
        missing.append("account.live_confirmed = true in the configuration")
    if not options.live_accepted:
        missing.append("--i-accept-real-orders on the command line")
    if missing:
        message = f"live trading is not confirmed: expected {' and '.join(missing)}"
        raise ConfigurationError(message)
    if not config.strategy.symbols:
        message = "strategy.symbols is empty: expected at least one symbol to trade (or --symbol)"
        raise ConfigurationError(message)
