"""A bot in this process: wired, shown, and stopped cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Mapping
from typing import Any

import msgspec
import typer

from holdfast import web
from holdfast.cli.logs import tell
from holdfast.cli.state_dir import remember_status, shown, status_token
from holdfast.cli.trade import Options
from holdfast.cli.venue_process import VenueProcess
from holdfast.di.config import Config
from holdfast.di.container import Container
from holdfast.di.session import Session
from holdfast.di.venue_link import discover_venue

_DEFAULT_SYMBOL = "BTC/USD"


async def default_symbol(config: Config) -> str:
    """For somebody who only wants to see it work: the pair that trades around the clock, or what a built-in venue has instead."""
    venue = await discover_venue(config.alpaca.base_url)
    if venue is None or not venue.symbols or _DEFAULT_SYMBOL in venue.symbols:
        return _DEFAULT_SYMBOL
    return venue.symbols[0]


async def trade(config: Config, options: Options, process: VenueProcess | None) -> None:
    """Trade until the end of the data, a signal, or a failure of the bot or of its venue.

    Args:
        config: Whom the bot trades for, where, and how.
        options: What the command line said.
        process: The venue that was started for this bot, if one was; whoever started it ends it.
    """
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
