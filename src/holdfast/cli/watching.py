"""``holdfast watch``: a process of its own that looks after a bot, and tells when it is silent or its books differ."""

from __future__ import annotations

import asyncio
from pathlib import Path

import typer

from holdfast.brokers import AlpacaConnector
from holdfast.cli.flattening import bot_config
from holdfast.cli.logs import configure_logs
from holdfast.cli.state_dir import token_path
from holdfast.cli.stopping import find_bot
from holdfast.di.assembly import make_kernel
from holdfast.di.config import Config
from holdfast.journal import JournalReader
from holdfast.journal.places import Place
from holdfast.model.errors import HoldfastError
from holdfast.net import create_combined_throttler
from holdfast.notify import Notifier
from holdfast.runner.recovery import recover
from holdfast.runner.watch import Books, Watch
from holdfast.time import RealTimeClock

# A look asks twice; a bot at its limit would not notice so little.
_LIMIT = {"alpaca_trading": {"limit": 20, "period": 60.0, "reserve": 0.0}}
_SECOND_LOOK_SECONDS = 3.0


async def watch(
    journal: Place | None, config_path: Path | None, venue: str | None, *, every: float, once: bool
) -> None:
    """Look until told to stop; with ``once`` print what is wrong, and raise where something is."""
    configure_logs(quiet=True)
    bot = find_bot(journal, config_path)
    config = bot_config(bot, config_path, venue)
    notifier = Notifier(config.notify.channels(), RealTimeClock())
    broker = _broker(config)
    try:
        await notifier.start()
        watcher = Watch(
            bot.beside,
            broker,
            _Journaled(bot.journal, config),
            _Printing(notifier),
            token=_token(config),
            owned=bot.journal,
        )
        if not once:
            await watcher.run(every)
        if not await watcher.look() and not watcher.suspected:
            typer.echo("all is well.")
            return
        if watcher.suspected:
            await asyncio.sleep(_SECOND_LOOK_SECONDS)
            await watcher.look()
        if not watcher.findings:
            typer.echo("all is well.")
            return
        message = "; ".join(finding.sentence for finding in watcher.findings)
        raise HoldfastError(message)
    finally:
        await notifier.stop(flush_seconds=5.0 if once else 0.5)
        await broker.close()


class _Printing:
    """Tells the notifier, and whoever sits before the terminal."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    def notify_nowait(self, channel: str, title: str, details: str = "") -> None:
        """Both."""
        typer.echo(title)
        self._notifier.notify_nowait(channel, title, details)


class _Journaled:
    """The bot's books by its journal, read anew only when the journal has grown."""

    def __init__(self, place: Place, config: Config) -> None:
        self._place, self._config = place, config
        self._seq = -1
        self._books = Books({}, ())

    def __call__(self) -> Books:
        with JournalReader(self._place) as reader:
            if reader.last_seq != self._seq:
                seq = reader.last_seq
                self._books = self._read(reader)
                self._seq = seq
        return self._books

    def _read(self, reader: JournalReader) -> Books:
        kernel = make_kernel(self._config, ())
        recover(reader, kernel, books_only=True)
        portfolio = kernel.portfolio
        return Books(
            {position.symbol: position.quantity for position in portfolio.positions.get_all()},
            tuple(order.client_order_id for order in portfolio.tracker.open_orders()),
            reader.journal_id,
        )


def _broker(config: Config) -> AlpacaConnector:
    """A connection of our own, which only reads."""
    keys = {
        name: secret.get_secret_value()
        for name in ("api_key", "api_secret")
        if (secret := getattr(config.alpaca, name)) is not None
    }
    return AlpacaConnector(
        {"account": {"mode": config.account.mode}},
        create_combined_throttler(_LIMIT),
        base_url=config.alpaca.base_url,
        brake=_only_reads,
        **keys,
    )


def _only_reads(*, reduces: bool) -> str | None:  # noqa: ARG001 - the signature of a brake
    return "holdfast watch only looks"


def _token(config: Config) -> str:
    if config.status.token is not None:
        return config.status.token.get_secret_value()
    try:
        return token_path().read_text(encoding="ascii").strip()
    except OSError:
        return ""
