"""Ending a bot that does not answer: this process, and never another one that got its number.

    what is found                                    what is done
    the process is gone                              nothing
    pid and birth are those that the journal names   SIGKILL (which also ends a process that was stopped), and wait
    the pid is there, with another birth             nothing: it is somebody else's
    the owner's birth is not known, or it is         refused, in a sentence: a person must end it
    another machine's

On Linux the process is first pinned by a pidfd, then compared, then ended through it: the number cannot change hands in
between. Elsewhere the comparison comes right before the signal.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

from holdfast.journal import Owner
from holdfast.model.errors import HoldfastError

_GONE_SECONDS = 5.0
_TICK_SECONDS = 0.02


async def end_owner(owner: Owner) -> bool:
    """SIGKILL the owner of a journal, and return when it is gone. Returns whether it had to be ended.

    Raises:
        HoldfastError: It cannot be known to be the owner, may not be ended, or does not go.
    """
    if not owner.is_here:
        message = f"the bot runs on {owner.host}, and this is another machine: end its process {owner.pid} there"
        raise HoldfastError(message)
    if not owner.birth or owner.pid <= 0:
        message = (
            f"the bot (pid {owner.pid}) does not answer, and when it began is not known: "
            "look whether that process is the bot, end it, and ask again"
        )
        raise HoldfastError(message)
    try:
        if not _kill(owner):
            return False
    except ProcessLookupError:
        return False
    except PermissionError:
        message = (
            f"the bot (pid {owner.pid}) does not answer, and ending it is not permitted: ask as the user that runs it"
        )
        raise HoldfastError(message) from None
    try:
        async with asyncio.timeout(_GONE_SECONDS):
            while owner.is_alive:  # noqa: ASYNC110 - nobody tells us of another's child
                await asyncio.sleep(_TICK_SECONDS)
    except TimeoutError:
        message = f"the bot (pid {owner.pid}) was sent SIGKILL and is still there after {_GONE_SECONDS:.0f} s"
        raise HoldfastError(message) from None
    return True


def _kill(owner: Owner) -> bool:
    """Send the signal, if the process is the owner."""
    pin = getattr(os, "pidfd_open", None)
    if pin is None:
        if not owner.is_alive:
            return False
        os.kill(owner.pid, signal.SIGKILL)
        return True
    descriptor = pin(owner.pid)
    try:
        if not owner.is_alive:
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    return True
