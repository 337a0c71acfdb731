"""What a run is like, all of it decided by one seed: market, strategies, limits, faults, deaths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

import msgspec

from holdfast.data.synthetic import synthetic_sessions
from holdfast.model.series import BarSeries
from holdfast.strategies import Strategy, VwapMeanReversion
from holdfast.testing.sim.chance import Chance, stream
from holdfast.testing.sim.faults import swarm
from holdfast.testing.sim.strategies import Monkey
from holdfast.time import UtcDaySessions

EQUITIES = ("SPY", "QQQ")
COIN = "BTC/USD"
_OPENING_MINUTE = 14 * 60 + 30

#: Makes the strategies of a run for its symbols; called again for every process.
MakeStrategies = Callable[[Sequence[str]], Sequence[Strategy]]


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        seed: Everything below follows from it.
        symbols: What is traded.
        bars: How many minutes of market.
        first_bar: Where in the session they begin.
        strategy: ``monkey``, ``vwap`` or ``both``.
        appetite: How often the monkey acts.
        guarded: How much of that is with stops and exits at the venue.
        participation: Share of a bar's volume that orders may take.
        spread_bps: Of the venue.
        rate_limit: Requests a minute, at the venue and in the bot.
        loose: Risk limits and protections are out of the way.
        rates: Chance of each fault at one opportunity.
        crashes: How often the bot is killed at most.
        crash_points: At these points, in turn; ``time`` is any moment.
        venue_restarts: How often the venue is killed.
        clock_steps: How the wall clock is set, in turn: ``ahead`` or ``back``.
        stalls: How often the network stalls.
        stops: How often the bot is stopped in good order, and started again.
        halts: How often an operator halts trading, for a while.
        asks: How often an operator sends an order of their own.
        snapshot_every: Records between two snapshots of the kernel; 0 for none.
    """

    seed: int
    symbols: tuple[str, ...]
    bars: int
    first_bar: int
    strategy: str
    appetite: float
    guarded: float
    participation: Decimal | None
    spread_bps: float
    rate_limit: int
    loose: bool
    rates: dict[str, float]
    crashes: int
    crash_points: tuple[str, ...]
    venue_restarts: int
    clock_steps: tuple[str, ...]
    stalls: int
    stops: int
    halts: int
    asks: int
    snapshot_every: int

    def series(self) -> dict[str, BarSeries]:
        """The market."""
        equities = [symbol for symbol in self.symbols if "/" not in symbol]
        coins = [symbol for symbol in self.symbols if "/" in symbol]
        found: dict[str, BarSeries] = {}
        if equities:
            found |= synthetic_sessions(equities, 1, self.seed)
        if coins:
            found |= synthetic_sessions(coins, 1, self.seed, calendar=UtcDaySessions())
        return {symbol: self._cut(bars) for symbol, bars in found.items()}

    def _cut(self, bars: BarSeries) -> BarSeries:
        # Coins trade around the clock: theirs are the minutes in which the exchange is open too.
        offset = _OPENING_MINUTE if "/" in bars.symbol else 0
        first = min(self.first_bar + offset, max(0, len(bars) - self.bars))
        return bars.slice(first, min(first + self.bars, len(bars)))

    def strategies(self, quiet_from: int) -> Sequence[Strategy]:
        """What trades, unless somebody brings a strategy."""
        made: list[Strategy] = []
        if self.strategy in ("monkey", "both"):
            made.append(
                Monkey(
                    self.symbols,
                    seed=self.seed,
                    appetite=self.appetite,
                    guarded=self.guarded,
                    quiet_from=quiet_from,
                    notional=4_000.0,
                )
            )
        if self.strategy in ("vwap", "both"):
            made.append(
                VwapMeanReversion(
                    self.symbols, notional=6_000, deviations=0.7, warmup_bars=5, time_stop_bars=12, stop_loss=0.003
                )
            )
        return made


POINTS = (
    "time",
    "append-before",
    "append-after",
    "sync-before",
    "sync-middle",
    "sync-after",
    "request-left",
    "answer-arrived",
)


def scenario(seed: int, *, bars_max: int = 390) -> Scenario:
    """The scenario of a seed."""
    chance = stream(seed, "scenario")
    kind = chance.random()
    symbols: tuple[str, ...]
    if kind < 0.5:
        symbols = EQUITIES[:1]
    elif kind < 0.7:
        symbols = EQUITIES
    elif kind < 0.9:
        symbols = (COIN,)
    else:
        symbols = (EQUITIES[0], COIN)
    bars = min(chance.choice((45, 60, 90, 120, 180, 390)), bars_max)
    intensity = chance.choice((0.0, 0.3, 1.0, 1.0, 1.0, 2.0, 4.0))
    return Scenario(
        seed=seed,
        symbols=symbols,
        bars=bars,
        first_bar=chance.choice((0, 0, 0, chance.randrange(390), 390 - bars)),
        strategy=chance.choice(("monkey", "monkey", "both", "vwap")),
        appetite=chance.uniform(0.15, 0.8),
        participation=chance.choice((None, Decimal("0.1"), Decimal("0.02"), Decimal("0.005"))),
        spread_bps=chance.choice((0.0, 2.0)),
        rate_limit=chance.choice((200, 200, 60, 20)),
        loose=chance.random() < 0.7,
        rates=swarm(chance, intensity),
        crashes=_crashes(chance),
        crash_points=tuple(chance.choice(POINTS) for _ in range(8)),
        venue_restarts=chance.choice((0, 0, 0, 1, 2)),
        clock_steps=tuple(chance.choice(("ahead", "back")) for _ in range(chance.choice((0, 0, 0, 1, 2)))),
        stalls=chance.choice((0, 0, 1, 3)),
        stops=chance.choice((0, 0, 0, 1, 2)),
        halts=chance.choice((0, 0, 0, 1, 2)),
        asks=chance.choice((0, 0, 2, 6)),
        snapshot_every=chance.choice((0, 20, 50, 200, 10_000)),
        guarded=chance.choice((0.0, 0.3, 0.3, 0.7)),
    )


def _crashes(chance: Chance) -> int:
    return chance.choice((0, 0, 1, 1, 2, 3, 5, 8))
