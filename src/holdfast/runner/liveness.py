"""What a running bot says of itself to other processes, in a file beside the journal: ``FILE.alive``.

It is written about once a second, and only after the runner itself has taken something from its inbox since the
last time: a file that is kept fresh by a task beside a runner that hangs would be worth less than none. So a
fresh file means that the loop that decides and sends is turning.

It carries what a second process needs without asking: who the bot is, where it trades, what it holds by its own
books, and which halt request it has heard. Times are real ones, however fast a replayed session runs.

    failure                          what follows
    the disk is full, the folder gone  the file grows old: `holdfast watch` says that the bot is silent; trading goes on
    the bot is killed or stopped       the file grows old, and says nothing of an end
    an orderly end                     the last one says ``ended``
    half a file                        never seen: a finished one is renamed into its place
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from holdfast.time import RealTimeClock


class Liveness(msgspec.Struct, frozen=True, kw_only=True):
    """One beat.

    Attributes:
        pid: Of the bot.
        birth: What tells the bot's process from others with its pid (see ``holdfast.journal.owner``).
        host: Its machine.
        at: When the runner was last seen at work (UTC ns, real time).
        trading_state: ``active``, ``reducing`` or ``halted``.
        mode: ``paper`` or ``live``.
        base_url: Where it trades; empty where that is Alpaca's own address.
        local_venue: That is the built-in venue.
        own_venue: What the bot started that venue with, where it did: the venue ends with the bot, and goes on from its book.
        status_url: Its status API; empty without one.
        heard: The id of the last halt request that it has acted on.
        flat: How that flatten ended, where it was one: empty while it runs, else ``flat`` or what is left.
        positions: By its books.
        open_orders: Client order ids that are open by its books.
        reasons: What keeps it from being healthy.
        ended: This was an orderly end.
    """

    pid: int
    birth: str
    host: str
    at: int
    trading_state: str
    mode: str = "paper"
    base_url: str = ""
    local_venue: bool = False
    own_venue: tuple[str, ...] = ()
    status_url: str = ""
    heard: str = ""
    flat: str = ""
    positions: dict[str, str] = {}
    open_orders: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    ended: bool = False

    def ending(self) -> Liveness:
        """The same as the last word of an orderly end."""
        return msgspec.structs.replace(self, ended=True, reasons=())


def liveness_path(journal: Path) -> Path:
    """Where the bot that owns a journal writes it."""
    return Path(f"{journal}.alive")


def read_liveness(journal: Path) -> Liveness | None:
    """The last beat; None where there is none that can be read."""
    try:
        return msgspec.json.decode(liveness_path(journal).read_bytes(), type=Liveness)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def write_liveness(path: Path, beat: Liveness) -> None:
    """Put a beat in place. It need not survive a power loss, so nothing is flushed.

    Raises:
        OSError: It cannot be written.
    """
    fresh = path.with_name(path.name + ".new")
    try:
        # It tells what somebody owns: for its owner's eyes.
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(beat))
        fresh.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(fresh)  # noqa: PTH108 - missing_ok would hide what the outer error says
        raise


def age_seconds(beat: Liveness) -> float:
    """How long ago the runner was seen at work (real seconds)."""
    return (RealTimeClock().now_ns() - beat.at) / 1e9
