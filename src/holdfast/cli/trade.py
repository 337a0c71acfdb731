"""``holdfast paper`` and ``holdfast live``: find the venue, wire the bot, show it, stop it cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import typer

from holdfast import web
from holdfast.cli.logs import configure_logs, tell
from holdfast.cli.market import Market, parse_params, parse_speed
from holdfast.cli.state_dir import default_journal, remember_status, shown, status_token, venue_book
from holdfast.cli.venue_process import VenueProcess, local_venue
from holdfast.di.config import Config, JournalConfig, load
from holdfast.di.container import Container
from holdfast.di.session import Session
from holdfast.di.venue_link import discover_venue
from holdfast.journal import read_owner
from holdfast.journal.owner import owned
from holdfast.journal.places import Place
from holdfast.model.errors import ConfigurationError

__all__ = ["Market", "Options", "run"]

_DEFAULT_SYMBOL = "BTC/USD"


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
        process = await VenueProcess.start(options.market, parse_speed(options.speed), book)
        config = load(options.config, local_venue(_overrides(options), process.url))
    elif options.venue is not None:
        config = load(options.config, local_venue(_overrides(options), options.venue, keep_keys=True))
    if process is None and options.venue is None and config.journal.path is None:
        # At a venue that remembers, a bot must remember too.
        config = config.model_copy(update={"journal": JournalConfig(path=default_journal(options.mode))})
    if not config.symbols:
        symbols = (await _default_symbol(config),)
        config = config.model_copy(update={"strategy": config.strategy.model_copy(update={"symbols": symbols})})
    try:
        await _trade(config, options, process)
    finally:
        if process is not None:
            await process.stop()


async def _default_symbol(config: Config) -> str:
    """For somebody who only wants to see it work: the pair that trades around the clock, or what a built-in venue has instead."""
    venue = await discover_venue(config.alpaca.base_url)
    if venue is None or not venue.symbols or _DEFAULT_SYMBOL in venue.symbols:
        return _DEFAULT_SYMBOL
    return venue.symbols[0]


def _free_book(journal: Place) -> Path:
    """Where the venue of this journal keeps its book. Who runs on the journal has the book, too, and is to be named first."""
    if (owner := read_owner(journal)) is not None:
        raise owned(str(journal), owner)
    return venue_book(journal)


async def _trade(config: Config, options: Options, process: VenueProcess | None) -> None:
    container = await Container.connect(config)
    if process is not None:
        container.control.own_venue = process.arguments
    session = Session(container, keep_open=not options.once, resume=options.resume)
    stopped = asyncio.Event()

    def stop() -> None:
        stopped.set()
        session.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    async with contextlib.AsyncExitStack() as stack:
        if config.status.enabled:
            server = _status_server(container, config)
            await server.start()
            container.control.status_url = server.url
            stack.push_async_callback(server.stop)
            _announce(server, container, options)
        if not options.json:
            from holdfast.web.painter import run as show  # noqa: PLC0415 - who wants JSON has no use for Rich

            view = asyncio.create_task(show(container))
            stack.push_async_callback(_end, view)
        running = asyncio.create_task(session.run())
        watched = [running] + ([asyncio.create_task(_watch(process))] if process is not None else [])
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        session.stop()
        try:
            await running
            for task in watched[1:]:
                if task.done() and not stopped.is_set():
                    task.result()
        finally:
            await asyncio.gather(*(_end(task) for task in watched[1:]))
    if options.json:
        typer.echo(msgspec.json.encode(container.summary()).decode())
    else:
        _print_end(container.summary())


async def _watch(process: VenueProcess) -> None:
    raise await process.died()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


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


# -- what is shown ------------------------------------------------------------------------------


def _status_server(container: Container, config: Config) -> web.StatusServer:
    status = config.status
    token = status.token.get_secret_value() if status.token is not None else status_token()
    return web.StatusServer(
        container, host=status.host, port=status.port, token=token, allow_remote=status.allow_remote
    )


def _announce(server: web.StatusServer, container: Container, options: Options) -> None:
    token_file = remember_status(server.url)
    where = "in HOLDFAST_STATUS__TOKEN or the configuration" if token_file is None else shown(token_file)
    lines = [
        f"trading on {container.venue_name}" if options.mode == "paper" else "TRADING WITH REAL MONEY on Alpaca live",
        f"status  {server.url}/status   (holdfast status; its token: {where})",
    ]
    if container.venue is not None and not options.market.is_given and options.venue is None:
        lines.insert(
            1, "market  bundled sample: two days of real BTC-PERP minutes, January 2022 (see NOTICE), as BTC/USD"
        )
    halt = None if container.control.file is None else container.control.file.read()
    if halt is not None:
        lines.append(f"halted  the halt file says {halt.sentence}   (holdfast resume lifts it)")
    tell("\n".join(lines))


def _print_end(summary: Mapping[str, Any]) -> None:
    blocked = ", ".join(f"{guard} {count}" for guard, count in summary["blocked"].items()) or "none"
    drift = f"DRIFT: {summary['drift']}" if summary["drift"] else "books equal the venue's"
    if not summary["compared"]:
        drift = "the venue did not answer the last comparison of the books"
    typer.echo(
        f"bars {summary['bars']}, signals {summary['signals']} (blocked: {blocked}), orders {len(summary['orders'])}, "
        f"fills {len(summary['fills'])}, trades {len(summary['trades'])}, equity {summary['equity']} USD; {drift}"
    )
