"""``holdfast flatten``: everything is closed, whatever state the bot is in; then it halts.

the bot                      what becomes of it
answers                      asked; it closes by its own books and says when it is done
hangs, or is stopped         silent for two seconds: ended by pid and start time, then as if there were none
is not there                 the journal is taken over: recover, look up, cancel, close, HALTED
runs on another machine      refused where the journal is in a database: its files are there, not here
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import typer

from holdfast.cli.logs import configure_logs, tell
from holdfast.cli.stopping import Where, find_bot
from holdfast.cli.venue_process import VenueProcess, local_venue
from holdfast.di.config import Config, load
from holdfast.di.container import Container
from holdfast.journal import read_owner
from holdfast.journal.places import Place
from holdfast.model.errors import (
    BrokerAuthError,
    BrokerRefusedError,
    ConfigurationError,
    HoldfastError,
    JournalError,
    VenueError,
)
from holdfast.runner.end_owner import end_owner
from holdfast.runner.flatten import FLAT
from holdfast.runner.halt_file import HaltFile, HaltOrder, make_order
from holdfast.runner.liveness import age_seconds, read_liveness

_TICK_SECONDS, _DATABASE_TICK_SECONDS = 0.05, 0.2
_SILENCE_SECONDS = 2.0
# What closing, comparing and stopping may take beyond the time that was given for closing.
_END_SECONDS = 10.0
_QUIET_SECONDS = 5.0
_LET_GO_SECONDS = 5.0
_TRIES, _TRY_AGAIN_SECONDS = 5, 1.0


async def flatten(
    journal: Place | None,
    config_path: Path | None,
    venue: str | None,
    *,
    seconds: float,
    reason: str,
    everything: bool,
) -> None:
    """Close everything, and say so; raises where something is left."""
    bot = find_bot(journal, config_path)
    file = HaltFile(bot.beside)
    order = msgspec.structs.replace(make_order("flatten", reason, everything=everything), seconds=seconds)
    file.write(order)
    outcome = await _by_the_bot(bot, order)
    if outcome is None:
        outcome = await _by_ourselves(bot, config_path, venue)
    # What was asked for stays in force, now without an order to close anything.
    told = "everything is closed" if outcome == FLAT else "not everything is closed"
    file.write(make_order("halted", f"flatten: {told}"))
    if outcome != FLAT:
        message = f"not flat: {outcome}; trading is halted"
        raise HoldfastError(message)
    typer.echo("flat: everything is closed; trading is halted until `holdfast resume`.")


# -- inside -------------------------------------------------------------------------------------


async def _by_the_bot(bot: Where, order: HaltOrder) -> str | None:
    """The outcome, where the bot answers and brings it to an end; None where there is no bot (any more)."""
    loop = asyncio.get_running_loop()
    asked = waited_from = loop.time()
    while True:
        beat = read_liveness(bot.beside)
        heard = beat is not None and beat.heard == order.id
        if beat is not None and heard and beat.flat:
            tell(f"the bot (pid {beat.pid}) has heard it and closed by its own books.")
            return beat.flat
        try:
            owner = read_owner(bot.journal)
        except JournalError:
            # A bot can do no more than wait while its database is away, so its silence says nothing; nor could we take over.
            if not bot.is_in_database or loop.time() - asked > order.seconds:
                raise
            await asyncio.sleep(_TRY_AGAIN_SECONDS)
            waited_from = loop.time()
            continue
        if owner is None:
            return None
        # Silent: it does not take the request up, or took it up and then stopped beating.
        silent = age_seconds(beat) if beat is not None and heard else loop.time() - waited_from
        if silent > _SILENCE_SECONDS or loop.time() - asked > order.seconds + _END_SECONDS:
            tell(f"the bot (pid {owner.pid}) does not answer; it is ended.")
            await end_owner(owner)
            await _until_let_go(bot)
            return None
        await asyncio.sleep(_DATABASE_TICK_SECONDS if bot.is_in_database else _TICK_SECONDS)


async def _until_let_go(bot: Where) -> None:
    """A server takes a moment to notice that a session of a process that was ended is over."""
    for _ in range(round(_LET_GO_SECONDS / _DATABASE_TICK_SECONDS)):
        if not bot.is_in_database or read_owner(bot.journal) is None:
            return
        await asyncio.sleep(_DATABASE_TICK_SECONDS)


async def _by_ourselves(bot: Where, config_path: Path | None, venue: str | None) -> str:
    """Take the journal over and close what it knows of."""
    configure_logs(quiet=True)
    beat = read_liveness(bot.beside)
    if venue is not None or beat is None or "--book" not in beat.own_venue:
        return await _until_taken_over(bot_config(bot, config_path, venue))
    # A venue that the bot had started went with it; what it knew is in its book.
    process = await _venue_again(beat.own_venue)
    try:
        return await _until_taken_over(bot_config(bot, config_path, process.url))
    finally:
        await process.stop()


async def _venue_again(arguments: Sequence[str]) -> VenueProcess:
    for _ in range(_TRIES - 1):
        try:
            return await VenueProcess.start_again(arguments)
        except (ConfigurationError, VenueError):
            # The old one may be about to end, and has the book until then.
            await asyncio.sleep(_DATABASE_TICK_SECONDS)
    return await VenueProcess.start_again(arguments)


async def _until_taken_over(config: Config) -> str:
    for _ in range(_TRIES - 1):
        try:
            return await _take_over(config)
        except BrokerAuthError:
            raise
        except BrokerRefusedError:
            # A venue that allows one stream may not have noticed yet that the bot's is gone.
            await asyncio.sleep(_TRY_AGAIN_SECONDS)
    return await _take_over(config)


async def _take_over(config: Config) -> str:
    container = await Container.connect(config)
    container.books_only = True
    try:
        if container.is_lockstep:
            message = (
                f"the venue at {config.alpaca.base_url} stands still until a bot drives it: nothing can fill there"
            )
            raise VenueError(message)
        await container.start()
        watch = container.control.watch
        running = asyncio.create_task(container.wait())
        while watch is not None and not watch.outcome and not running.done():
            await asyncio.wait({running}, timeout=_TICK_SECONDS)
        if running.done():
            running.result()  # what ended the runner
        running.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_QUIET_SECONDS):
                await container.runner.quiet()
        return "nobody closed anything" if watch is None else watch.outcome
    finally:
        await container.stop()


def bot_config(bot: Where, config_path: Path | None, venue: str | None) -> Config:
    """The configuration of the bot that owns, or owned, a journal, without what trades.

    Where it traded is told by its last beat, unless somebody says otherwise.
    """
    config, beat = load(config_path), read_liveness(bot.beside)
    mode = beat.mode if beat is not None else config.account.mode
    values: dict[str, Any] = {
        # Whoever closes real positions has said so already: the confirmation is for opening them.
        "account": {"mode": mode, "live_confirmed": mode == "live"},
        # No snapshots: the next run of the bot goes on from its own.
        "journal": {"path": bot.journal, "control": bot.beside, "snapshot_every": 0},
        "strategy": {"symbols": ()},
        "watch": (),
        "status": {"enabled": False},
        "heartbeat": {"url": None, "channel": None},
        # An exit that waits for the market to open goes on waiting at the venue.
        "shutdown": {"open_orders": "leave"},
    }
    url = venue or (beat.base_url if beat is not None and beat.local_venue else None)
    return load(config_path, local_venue(values, url) if url else values)
