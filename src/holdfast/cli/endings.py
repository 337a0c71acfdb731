"""How a command ends: every failure is one clear sentence and a non-zero exit code; a traceback is a bug of ours."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import typer

from holdfast.cli.logs import tell
from holdfast.model.errors import ConfigurationError, DataError, HoldfastError

# 2 is the convention for "you asked for something that cannot be"; 1 for "it went wrong"; 128 + 2 for Ctrl-C.
EXIT_USAGE, EXIT_FAILED, EXIT_INTERRUPTED = 2, 1, 130
_OUTPUT_LOST = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # of a redirected file; a pipe without a reader is told apart


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Await a command's work in a loop of its own."""
    import asyncio  # noqa: PLC0415 - slow to import, and half of the commands never wait

    call(lambda: asyncio.run(work()))


async def judged(work: Coroutine[Any, Any, bool]) -> None:
    """Work whose verdict is the exit code."""
    if not await work:
        raise typer.Exit(EXIT_FAILED)


def call(work: Callable[[], None]) -> None:
    """Do a command's work; what it raises becomes its sentence and its exit code."""
    try:
        work()
    except (ConfigurationError, DataError) as error:
        _fail(error, EXIT_USAGE)
    except HoldfastError as error:
        _fail(error, EXIT_FAILED)
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody to tell.
        sys.stderr.close()
        raise typer.Exit(EXIT_FAILED) from None
    except OSError as error:
        if error.errno not in _OUTPUT_LOST:
            raise
        _fail(f"the output is not whole: {error.strerror}", EXIT_FAILED)


def _fail(error: HoldfastError | str, code: int) -> None:
    # What a strategy raised may have lines of its own; the sentence stays one line, which a log keeps together.
    tell(f"holdfast: {' '.join(str(error).split())}")
    raise typer.Exit(code) from None
