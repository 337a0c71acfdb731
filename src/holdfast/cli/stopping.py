"""``holdfast halt``, ``resume`` and ``flatten``: they work whatever state the bot is in.

    the bot                      halt, resume                       flatten
    answers                      heard within half a second         asked; it closes by its own books and says when it is done
    hangs, or is stopped         the sender finds the file when it  silent for two seconds: ended by pid and start time, then as
                                 comes back, before anything leaves if there were none
    is not there                 the next one starts as it says     the journal is taken over: recover, look up, cancel, close, HALTED
    runs on another machine      refused where the journal is in a database: its files are there, not here

An answer is the liveness file naming the request, written by the runner after it has taken it.
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
from holdfast.cli.trade import local_venue
from holdfast.cli.venue_process import VenueProcess
from holdfast.di.companions import companions, state_dir
from holdfast.di.config import Config, load
from holdfast.di.container import Container
from holdfast.di.control import make_order, operator
from holdfast.journal import Owner, read_owner
from holdfast.journal.places import DatabaseUrl, Place
from holdfast.journal.reader import journal_exists
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
from holdfast.runner.halt_file import HaltFile, HaltOrder
from holdfast.runner.liveness import age_seconds, liveness_path, read_liveness

_TICK_SECONDS, _DATABASE_TICK_SECONDS = 0.05, 0.2
_SILENCE_SECONDS = 2.0
# What closing, comparing and stopping may take beyond the time that was given for closing.
_END_SECONDS = 10.0
_QUIET_SECONDS = 5.0
_LET_GO_SECONDS = 5.0
_TRIES, _TRY_AGAIN_SECONDS = 5, 1.0
_MODES = ("paper", "live")


class Where(msgspec.Struct, frozen=True):
    """A bot, by its journal, and the name beside which its halt file and its liveness file stand."""

    journal: Place
    beside: Path

    @property
    def is_in_database(self) -> bool:
        """A server has to be asked who runs on the journal."""
        return isinstance(self.journal, DatabaseUrl)


async def halt(journal: Place | None, config: Path | None, reason: str, *, reduce: bool) -> None:
    """Put the halt file in place, and say whether the bot has heard."""
    bot = find_bot(journal, config)
    order = make_order("reducing" if reduce else "halted", reason)
    HaltFile(bot.beside).write(order)
    what = "reducing: only orders that reduce a position leave" if reduce else "halted: no order leaves"
    owner = _owner(bot)
    if owner is None:
        typer.echo(f"{what}. No bot runs on {bot.journal}; the next one starts so, until `holdfast resume`.")
    elif await _heard(bot, order.id):
        typer.echo(f"{what}. The bot (pid {owner.pid}) has heard it; `holdfast resume` lifts it.")
    else:
        _check_same_files(bot, owner)
        typer.echo(
            f"{what}. The bot (pid {owner.pid}) does not answer, but it looks at the halt file before each order "
            "request; `holdfast flatten` ends it and closes its positions."
        )


async def resume(journal: Place | None, config: Path | None) -> None:
    """Take the halt file away and ask for trading; says whether the bot trades again."""
    bot = find_bot(journal, config)
    file = HaltFile(bot.beside)
    file.resume(operator())
    owner = _owner(bot)
    if owner is None:
        typer.echo(f"resumed: no bot runs on {bot.journal}; the next one trades.")
        return
    for _ in range(round(_SILENCE_SECONDS / _TICK_SECONDS)):
        if not file.resume_path.exists():
            typer.echo(f"resumed: the bot (pid {owner.pid}) trades.")
            return
        await asyncio.sleep(_TICK_SECONDS)
    _check_same_files(bot, owner)
    message = f"the halt file is gone, but the bot (pid {owner.pid}) does not answer; it trades again when it does"
    raise HoldfastError(message)


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


def find_bot(journal: Place | None, config_path: Path | None) -> Where:
    """The bot that is meant, by its journal.

    Raises:
        ConfigurationError: There is none, more than one could be, or there is no place for its files.
        JournalError: Its database cannot be asked whether there is one, and no bot of ours was seen on it.
    """
    config = load(config_path, {} if journal is None else {"journal": {"path": journal}})
    place = config.journal.path
    if place is not None:
        bot = Where(place, config.journal.beside or companions(place))
        if not _is_there(bot):
            what = "address" if bot.is_in_database else "file"
            message = f"there is no journal {place}: expected the {what} that the bot was started with"
            raise ConfigurationError(message)
        return bot
    kept = [path for mode in _MODES if (path := state_dir() / f"alpaca-{mode}.journal").is_file()]
    if len(kept) != 1:
        found = " and ".join(map(str, kept)) or "none is kept here"
        message = f"which journal is meant? Expected --journal FILE ({found})"
        raise ConfigurationError(message)
    return Where(kept[0], config.journal.beside or kept[0])


# -- inside -------------------------------------------------------------------------------------


def _is_there(bot: Where) -> bool:
    # A bot of ours that has run on a database is word enough: a halt may not depend on its server.
    seen = bot.is_in_database and liveness_path(bot.beside).is_file()
    return seen or journal_exists(bot.journal)


def _owner(bot: Where) -> Owner | None:
    """The process that runs on a journal.

    While its database cannot be asked, it is the one that was last seen at work, as long as that lives.

    Raises:
        HoldfastError: The owner runs where our files are not looked at, or it cannot be known who it is.
    """
    try:
        owner = read_owner(bot.journal)
    except JournalError as error:
        owner = _last_seen(bot)
        if owner is None:
            message = f"the files are in place ({bot.beside}.*), but who runs on the journal is not known: {error}"
            raise HoldfastError(message) from None
    if owner is not None and bot.is_in_database and not owner.is_here:
        message = (
            f"the bot (pid {owner.pid}) runs on {owner.host} and looks for its files there, so this was not for it: "
            "run the command on that machine"
        )
        raise HoldfastError(message)
    return owner


def _last_seen(bot: Where) -> Owner | None:
    beat = read_liveness(bot.beside)
    if beat is None or beat.ended or not beat.birth:
        return None
    owner = Owner(pid=beat.pid, host=beat.host, birth=beat.birth)
    return owner if owner.is_here and owner.is_alive else None


def _check_same_files(bot: Where, owner: Owner) -> None:
    """Raises where the owner was never seen to keep its files where ours are: nothing says that it looks there.

    Beside a journal's own file an earlier run is word enough: this one may be at its start.
    """
    beat = read_liveness(bot.beside)
    is_its_own = beat is not None and (beat.pid, beat.birth) == (owner.pid, owner.birth)
    if not is_its_own and (beat is None or bot.beside != bot.journal):
        message = (
            f"the bot (pid {owner.pid}) was not seen to look at {bot.beside}.halt: expected the journal.control that it "
            "was started with, or without one the user that runs it, with its HOLDFAST_HOME and its address"
        )
        raise HoldfastError(message)


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
        "heartbeat": {"url": None},
        # An exit that waits for the market to open goes on waiting at the venue.
        "shutdown": {"open_orders": "leave"},
    }
    url = venue or (beat.base_url if beat is not None and beat.local_venue else None)
    return load(config_path, local_venue(values, url) if url else values)
