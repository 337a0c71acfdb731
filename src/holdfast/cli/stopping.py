"""``holdfast halt`` and ``resume``: they work whatever state the bot is in.

    the bot                      what becomes of it
    answers                      heard within half a second
    hangs, or is stopped         the sender finds the file when it comes back, before anything leaves
    is not there                 the next one starts as it says
    runs on another machine      refused where the journal is in a database: its files are there, not here

An answer is the liveness file naming the request, written by the runner after it has taken it. Who halts is in a hurry:
nothing is imported here that only a bot needs.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import typer

from holdfast.di.companions import companions, state_dir
from holdfast.di.config import load
from holdfast.journal import Owner, read_owner
from holdfast.journal.places import DatabaseUrl, Place
from holdfast.journal.reader import journal_exists
from holdfast.model.errors import ConfigurationError, HoldfastError, JournalError
from holdfast.runner.halt_file import HaltFile, make_order, operator
from holdfast.runner.liveness import liveness_path, read_liveness

_TICK_SECONDS = 0.05
_SILENCE_SECONDS = 2.0
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
