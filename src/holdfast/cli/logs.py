"""What goes to standard error: log lines, and words beside the command's result, which alone has standard output."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import typer


class StandardError:
    """Standard error as it is when a line is written, and no worry of the bot's where it is gone.

    A closed terminal, a reader of the pipe that ended, a full disk under the redirected file: a line is lost then.
    Raised to whoever logs, the error would end a stream or a task that had only something to say.
    """

    def write(self, line: str) -> None:
        """Write a line, or lose it."""
        with suppress(OSError, ValueError):  # ValueError: the file was closed
            sys.stderr.write(line)

    def flush(self) -> None:
        """Flush, or lose what was buffered."""
        with suppress(OSError, ValueError):
            sys.stderr.flush()


def configure_logs(*, quiet: bool = False) -> None:
    """Key-value lines on standard error; JSON where it is no terminal. ``quiet`` keeps a live view undisturbed."""
    import structlog  # noqa: PLC0415 - slow to import, and no command that logs nothing needs it

    terminal = sys.stderr.isatty()
    level = logging.WARNING if quiet and not terminal else logging.ERROR if quiet else logging.WARNING
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(StandardError()),  # type: ignore[arg-type]  # writes and flushes
        cache_logger_on_first_use=False,
    )


def silence_logs() -> None:
    """None but what is critical: for commands whose own words say all that the others would."""
    import structlog  # noqa: PLC0415 - as above

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def tell(words: str) -> None:
    """Say something on standard error; nobody stops, flattens or trades any less because it could not be said."""
    with suppress(OSError, ValueError):
        typer.echo(words, err=True)


def nowhere() -> TextIO:
    """Stands for a descriptor that this process was started without, as a service may be."""
    return Path(os.devnull).open("w", encoding="utf-8")


def drop_what_nobody_reads() -> None:
    """Forget what standard error could not take: at its end the interpreter would try once more, and exit with 120."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.stderr = nowhere()
