"""Where log lines go: standard error, never standard output, which belongs to the command's result."""

from __future__ import annotations

import logging
import sys

import structlog


def configure_logs(*, quiet: bool = False) -> None:
    """Key-value lines on standard error; JSON where it is no terminal. ``quiet`` keeps a live view undisturbed."""
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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def silence_logs() -> None:
    """None but what is critical: for commands whose own words say all that the others would."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
