"""Which market a command is about: recorded files, seeded synthetic sessions, or the bundled sample."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from holdfast.model.errors import ConfigurationError

if TYPE_CHECKING:
    from holdfast.model import BarSeries

_SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9]+)?")


class Market(msgspec.Struct, frozen=True):
    """The options that describe a replayed market."""

    data: Path | None = None
    start: str | None = None
    end: str | None = None
    timeframe: str | None = None
    adjustment: str | None = None
    symbol: str | None = None
    synthetic: str | None = None
    sessions: int = 5
    seed: int = 7
    cash: Decimal = Decimal(100_000)
    participation: float = 0.1
    spread_bps: float = 0.0

    @property
    def is_given(self) -> bool:
        """Whether the user named a replayed market."""
        return self.data is not None or self.synthetic is not None

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols asked for, as they were written.

        Raises:
            ConfigurationError: One cannot be a symbol, or they are named twice and differently.
        """
        if self.synthetic is not None and self.symbol is not None and _split(self.synthetic) != _split(self.symbol):
            message = "give --symbol or --synthetic, not both: --synthetic names the symbols itself"
            raise ConfigurationError(message)
        symbols = _split(self.synthetic or self.symbol or "")
        for symbol in symbols:
            if _SYMBOL.fullmatch(symbol) is None:
                message = f"{symbol!r} is no symbol: expected one like SPY, BRK.B or BTC/USD"
                raise ConfigurationError(message)
        return symbols

    def load(self) -> dict[str, BarSeries]:
        """The bars.

        Raises:
            ConfigurationError: The options contradict each other or leave out what is needed.
            DataError: A file is missing or a row is bad; names file, line and reason.
        """
        if self.data is None and self._catalog_options:
            message = f"{self._catalog_options[0]} needs --data: the folder of a catalog"
            raise ConfigurationError(message)
        if self.synthetic is not None:
            if self.data is not None:
                message = "give --data or --synthetic, not both"
                raise ConfigurationError(message)
            from holdfast.data.synthetic import synthetic_sessions  # noqa: PLC0415 - loads the exchange calendar

            return synthetic_sessions(self.symbols, self.sessions, self.seed)
        from holdfast.data import load  # noqa: PLC0415 - NumPy's parser is not needed by every command

        if self.data is None:
            from holdfast.samples import SAMPLES, path  # noqa: PLC0415 - as above

            self.check_sample()
            return load(path(), SAMPLES.values())
        if not self.symbols:
            message = f"--data {self.data} needs --symbol: which symbol are the bars of?"
            raise ConfigurationError(message)
        if (self.data / "catalog.json").exists():
            from holdfast.data.catalog_market import read_market  # noqa: PLC0415 - needs the extra parquet

            return read_market(self.data, self.symbols, self.start, self.end, self.timeframe, self.adjustment)
        chosen = self._catalog_options
        if chosen:
            message = f"{chosen[0]} needs a catalog: {self.data} is read whole, as it is"
            raise ConfigurationError(message)
        return load(self.data, self.symbols)

    def check_sample(self) -> None:
        """Where the bundled sample is meant, it can only be traded as what it is.

        Raises:
            ConfigurationError: Another symbol was asked for, and no data of it were named.
        """
        from holdfast.samples import SAMPLES  # noqa: PLC0415 - not needed where data are named

        strange = [] if self.is_given else [symbol for symbol in self.symbols if symbol not in SAMPLES.values()]
        if strange:
            message = f"--symbol {strange[0]} needs --data: the bundled sample is {', '.join(SAMPLES.values())}"
            raise ConfigurationError(message)

    def arguments(self) -> list[str]:
        """The same as command-line arguments, for a venue in a process of its own."""
        arguments = ["--sessions", str(self.sessions), "--seed", str(self.seed), "--cash", str(self.cash)]
        arguments += ["--participation", str(self.participation), "--spread-bps", str(self.spread_bps)]
        if self.synthetic is not None:
            arguments += ["--synthetic", self.synthetic]
        if self.data is not None:
            arguments += ["--data", str(self.data)]
        if self.symbol is not None and self.data is not None:
            arguments += ["--symbol", self.symbol]
        arguments += self._catalog_options
        return arguments

    @property
    def _catalog_options(self) -> list[str]:
        given = {
            "--start": self.start,
            "--end": self.end,
            "--timeframe": self.timeframe,
            "--adjustment": self.adjustment,
        }
        return [word for name, value in given.items() if value is not None for word in (name, value)]

    @property
    def participation_limit(self) -> Decimal | None:
        """For the engine: zero means no limit."""
        return Decimal(repr(self.participation)) if self.participation else None


def _split(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def parse_params(params: tuple[str, ...]) -> dict[str, object]:
    """``name=value`` pairs; values as numbers, true, false and none where they look like it.

    Raises:
        ConfigurationError: A pair has no equals sign.
    """
    words: dict[str, object] = {"true": True, "false": False, "none": None}
    parsed: dict[str, object] = {}
    for pair in params:
        name, equals, text = pair.partition("=")
        if not equals or not name.isidentifier():
            message = f"--param {pair!r}: expected name=value"
            raise ConfigurationError(message)
        value: object = words.get(text.lower(), text)
        for kind in (int, float):
            if isinstance(value, str):
                try:
                    value = kind(value)
                except ValueError:
                    continue
        parsed[name] = value
    return parsed


def parse_speed(text: str) -> str | float:
    """``max`` or a positive number.

    Raises:
        ConfigurationError: It is neither.
    """
    if text == "max":
        return "max"
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed < float("inf"):
        message = f"--speed {text!r}: expected a positive number or max"
        raise ConfigurationError(message)
    return speed
