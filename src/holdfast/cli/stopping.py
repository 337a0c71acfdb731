"""``holdfast halt``, ``resume`` and ``flatten``: they work whatever state the bot is in.

    the bot                      halt, resume                       flatten
    answers                      heard within half a second         asked; it closes by its own books and says when it is done
    hangs, or is stopped         the sender finds the file when it  silent for two seconds: ended by pid and start time, then as
                                 comes back, before anything leaves if there were none
    is not there                 the next one starts as it says     the journal is taken over: recover, look up, cancel, close, HALTED

An answer is the liveness file naming the request, written by the runner after it has taken it.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import msgspec
import typer

from holdfast.cli.logs import configure_logs
from holdfast.cli.state_dir import state_dir
from holdfast.cli.trade import local_venue
from holdfast.di.config import Config, load
from holdfast.di.container import Container
from holdfast.di.control import make_order, operator
from holdfast.journal import read_owner
from holdfast.journal.places import DatabaseUrl
from holdfast.model.errors import (
    BrokerAuthError,
    BrokerRefusedError,
    ConfigurationError,
    HoldfastError,
    VenueError,
)
from holdfast.runner.end_owner import end_owner
from holdfast.runner.flatten import FLAT
from holdfast.runner.halt_file import HaltFile, HaltOrder
from holdfast.runner.liveness import age_seconds, read_liveness

_TICK_SECONDS = 0.05
_SILENCE_SECONDS = 2.0
# What closing, comparing and stopping may take beyond the time that was given for closing.
_END_SECONDS = 10.0
_QUIET_SECONDS = 5.0
_TRIES, _TRY_AGAIN_SECONDS = 5, 1.0
_MODES = ("paper", "live")


class Where(msgspec.Struct, frozen=True):
    """A bot, by its journal, and the name beside which its halt file and its liveness file stand."""

    journal: Path | DatabaseUrl
    beside: Path


async def halt(journal: str | None, config: Path | None, reason: str, *, reduce: bool) -> None:
    """Put the halt file in place, and say whether the bot has heard."""
    bot = find_bot(journal, config)
    order = make_order("reducing" if reduce else "halted", reason)
    HaltFile(bot.beside).write(order)
    what = "reducing: only orders that reduce a position leave" if reduce else "halted: no order leaves"
    owner = read_owner(bot.journal)
    if owner is None:
        typer.echo(f"{what}. No bot runs on {bot.journal}; the next one starts so, until `holdfast resume`.")
    elif await _heard(bot, order.id):
        typer.echo(f"{what}. The bot (pid {owner.pid}) has heard it; `holdfast resume` lifts it.")
    else:
        typer.echo(
            f"{what}. The bot (pid {owner.pid}) does not answer, but it looks at the halt file before each order "
            "request; `holdfast flatten` ends it and closes its positions."
        )


async def resume(journal: str | None, config: Path | None) -> None:
    """Take the halt file away and ask for trading; says whether the bot trades again."""
    bot = find_bot(journal, config)
    file = HaltFile(bot.beside)
    file.resume(operator())
    owner = read_owner(bot.journal)
    if owner is None:
        typer.echo(f"resumed: no bot runs on {bot.journal}; the next one trades.")
        return
    for _ in range(round(_SILENCE_SECONDS / _TICK_SECONDS)):
        if not file.resume_path.exists():
            typer.echo(f"resumed: the bot (pid {owner.pid}) trades.")
            return
        await asyncio.sleep(_TICK_SECONDS)
    message = f"the halt file is gone, but the bot (pid {owner.pid}) does not answer; it trades again when it does"
    raise HoldfastError(message)


async def flatten(
    journal: str | None,
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


def find_bot(journal: str | None, config_path: Path | None) -> Where:
    """The bot that is meant, by its journal.

    Raises:
        ConfigurationError: There is none, more than one could be, or nothing can lie beside it.
    """
    config = load(config_path, {} if journal is None else {"journal": {"path": journal}})
    place, beside = config.journal.path, config.journal.beside
    if isinstance(place, DatabaseUrl):
        if beside is None:
            message = (
                f"the journal {place} is no file, and what stops a bot from outside must lie beside one: "
                "expected journal.control in the configuration of both"
            )
            raise ConfigurationError(message)
        return Where(place, beside)
    if place is not None and beside is not None:
        if not place.is_file():
            message = f"there is no journal {place}: expected the file that the bot was started with"
            raise ConfigurationError(message)
        return Where(place, beside)
    kept = [path for mode in _MODES if (path := state_dir() / f"alpaca-{mode}.journal").is_file()]
    if len(kept) != 1:
        found = " and ".join(map(str, kept)) or "none is kept here"
        message = f"which journal is meant? Expected --journal FILE ({found})"
        raise ConfigurationError(message)
    return Where(kept[0], beside or kept[0])


# -- inside -------------------------------------------------------------------------------------


async def _heard(bot: Where, request: str) -> bool:
    for _ in range(round(_SILENCE_SECONDS / _TICK_SECONDS)):
        beat = read_liveness(bot.beside)
        if beat is not None and beat.heard == request:
            return True
        await asyncio.sleep(_TICK_SECONDS)
    return False


async def _by_the_bot(bot: Where, order: HaltOrder) -> str | None:
    """The outcome, where the bot answers and brings it to an end; None where there is no bot (any more)."""
    loop = asyncio.get_running_loop()
    asked = loop.time()
    while (owner := read_owner(bot.journal)) is not None:
        beat = read_liveness(bot.beside)
        heard = beat is not None and beat.heard == order.id
        if beat is not None and heard and beat.flat:
            typer.echo(f"the bot (pid {owner.pid}) has heard it and closed by its own books.", err=True)
            return beat.flat
        # Silent: it does not take the request up, or took it up and then stopped beating.
        silent = age_seconds(beat) if beat is not None and heard else loop.time() - asked
        if silent > _SILENCE_SECONDS or loop.time() - asked > order.seconds + _END_SECONDS:
            typer.echo(f"the bot (pid {owner.pid}) does not answer; it is ended.", err=True)
            await end_owner(owner)
            break
        await asyncio.sleep(_TICK_SECONDS)
    return None


async def _by_ourselves(bot: Where, config_path: Path | None, venue: str | None) -> str:
    """Take the journal over and close what it knows of."""
    configure_logs(quiet=True)
    config = bot_config(bot, config_path, venue)
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
        "journal": {
            "path": bot.journal,
            "control": bot.beside,
            "snapshot_every": 0,
        },  # the next run of the bot goes on from its own
        "strategy": {"symbols": ()},
        "watch": (),
        "status": {"enabled": False},
        "heartbeat": {"url": None},
        # An exit that waits for the market to open goes on waiting at the venue.
        "shutdown": {"open_orders": "leave"},
    }
    url = venue or (beat.base_url if beat is not None and beat.local_venue else None)
    return load(config_path, local_venue(values, url) if url else values)
