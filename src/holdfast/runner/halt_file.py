"""The brake that works from outside: a file beside the journal that is looked at before each order request leaves.

The problem: whoever must stop a bot may be facing one that no longer listens. A message to it would wait in
an inbox that nobody empties, and a signal would wait for a loop that does not turn. A file needs no listener.
It is looked at at the last moment before an order request leaves the process, by the sender itself, so a bot
that hangs and comes back finds it before anything leaves.

    file            written by                what it does
    FILE.halt       holdfast halt, flatten    stays until `holdfast resume`; its state says which orders still leave
    FILE.resume     holdfast resume           lifts a halt once: the bot takes it away when trading is active again

    state           orders that open   orders that reduce   cancels
    halted          stay here          stay here            leave
    reducing        stay here          leave                leave
    flatten         stay here          leave                leave      (and the bot closes what it holds)

A halt file that cannot be read counts as ``halted``: somebody put it there to stop something. What is asked for is
also told to the kernel as an event, so that it is in the journal, but the brake does not wait for that.

The look costs one ``stat``; the file is read again only when it is another one. Files are put in place by
renaming a finished one, so that half a file is never seen. No lock is involved: a bot that is stopped in the
middle of something must not be able to hold one.

What each failure leaves behind:

    failure                       what follows
    the file cannot be looked at  counts as halted (whatever the reason: only "there is no such file" is a clear answer)
    it is no JSON, or half of it  counts as halted; its text is never trusted
    the disk is full at writing   `holdfast halt` says so and ends with 1; nothing was changed
    the bot dies meanwhile        the file stays: the next run starts as it says
"""

from __future__ import annotations

import contextlib
import getpass
import os
import platform
import secrets
from pathlib import Path
from typing import Literal

import msgspec

from holdfast.model import TradingState
from holdfast.model.errors import HoldfastError
from holdfast.model.timestamps import NS_PER_SECOND, format_rfc3339
from holdfast.time import RealTimeClock

HaltState = Literal["halted", "reducing", "flatten"]

# Which trading state each asks of the kernel while the file is there. A flatten ends in HALTED by itself.
TRADING_STATE: dict[HaltState, TradingState] = {
    "halted": TradingState.HALTED,
    "reducing": TradingState.REDUCING,
    "flatten": TradingState.REDUCING,
}
_UNREADABLE = "unreadable"


class HaltOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asked for.

    Attributes:
        state: Which orders still leave.
        who: Login and machine, as far as they are known.
        at: When (RFC 3339, UTC).
        reason: In the words of whoever asked.
        id: Made anew for each request, so that a bot can say which one it has heard.
        everything: With ``flatten``: also positions that are not in our books.
        seconds: With ``flatten``: after so long it is given up (real time).
    """

    state: HaltState
    who: str = "unknown"
    at: str = ""
    reason: str = ""
    id: str = ""
    everything: bool = False
    seconds: float = 30.0

    @property
    def sentence(self) -> str:
        """For verdicts, alerts and the journal."""
        why = f": {self.reason}" if self.reason else ""
        when = f" at {self.at}" if self.at else ""
        return f"{self.state} by {self.who}{when}{why}"


def new_id() -> str:
    """A name for one request."""
    return secrets.token_hex(8)


def make_order(state: HaltState, reason: str, *, everything: bool = False) -> HaltOrder:
    """A request of whoever runs this process."""
    return HaltOrder(
        state=state,
        who=operator(),
        at=format_rfc3339(RealTimeClock().now_ns() // NS_PER_SECOND * NS_PER_SECOND),
        reason=reason,
        id=new_id(),
        everything=everything,
    )


def operator() -> str:
    """Login and machine of whoever runs this process, as far as they are known."""
    try:
        login = getpass.getuser()
    except (OSError, KeyError, ImportError):
        login = f"uid {os.getuid()}"
    return f"{login}@{platform.node() or 'unknown'}"


class HaltFile:
    """The halt file of one journal.

    Args:
        journal: The journal's file; the halt file is ``JOURNAL.halt``.
    """

    def __init__(self, journal: Path) -> None:
        self.path = Path(f"{journal}.halt")
        self.resume_path = Path(f"{journal}.resume")
        self._seen: tuple[int, int, int] | None = None
        self._order: HaltOrder | None = None

    # -- the bot's side -------------------------------------------------------------------------

    def read(self) -> HaltOrder | None:
        """What is asked for now; None where there is no halt file."""
        try:
            status = os.stat(self.path)  # noqa: PTH116 - this is the look before each order: no object is made for it
        except FileNotFoundError:
            self._seen = self._order = None
            return None
        except OSError as error:
            self._seen = None
            return _fail_closed(f"{self.path} cannot be looked at: {error.strerror}")
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen != self._seen or self._order is None:
            self._order = self._parse()
            self._seen = seen
        return self._order

    def brake(self, *, reduces: bool) -> str | None:
        """Why an order request must not leave; None where it may."""
        order = self.read()
        if order is None or (reduces and order.state != "halted"):
            return None
        return f"the halt file says {order.sentence}"

    def resume_asked(self) -> bool:
        """Whether a halt is to be lifted: asked for, and no halt file has come since."""
        return self.resume_path.exists() and self.read() is None

    def resume_done(self) -> None:
        """The bot trades again: the request has done its work."""
        with contextlib.suppress(OSError):  # it is asked again at the next look, and that changes nothing
            self.resume_path.unlink(missing_ok=True)

    # -- the operator's side --------------------------------------------------------------------

    def write(self, order: HaltOrder) -> None:
        """Put a halt file in place, of an older one too; durable when this returns.

        Raises:
            HoldfastError: It cannot be written.
        """
        self._replace(self.path, msgspec.json.encode(order))
        self.resume_done()

    def resume(self, who: str) -> bool:
        """Take the halt file away and ask the bot, or its next run, to trade again. Returns whether there was one.

        Raises:
            HoldfastError: A file cannot be written or removed.
        """
        self._replace(self.resume_path, msgspec.json.encode({"who": who}))
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            self.resume_done()
            message = f"the halt file {self.path} cannot be removed: {error.strerror}; trading stays halted"
            raise HoldfastError(message) from None
        return True

    # -- inside ---------------------------------------------------------------------------------

    def _parse(self) -> HaltOrder:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=HaltOrder)
        except FileNotFoundError:
            # Taken away between two looks: the next one says so.
            return _fail_closed(f"{self.path} was there a moment ago")
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            return _fail_closed(f"{self.path} cannot be read ({error}), which counts as a halt")

    def _replace(self, path: Path, content: bytes) -> None:
        fresh = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
            message = f"{path} cannot be written: {error.strerror}; nothing was changed"
            raise HoldfastError(message) from None


def _fail_closed(reason: str) -> HaltOrder:
    return HaltOrder(state="halted", reason=reason, id=_UNREADABLE)
