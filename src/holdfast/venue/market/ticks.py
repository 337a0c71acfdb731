"""Quotes and trades inside bars, made so that the bars come out again exactly.

A recorded bar says what its trades added up to and not what they were. Where the venue needs them, it makes
some: of each bar at most eight moments, each with a quote and perhaps a trade. What they promise:

- the first trade is the open, the last one the close, the highest the high, the lowest the low;
- the sizes add up to the volume: as decimals where the volume is a decimal of ordinary length, and as
  binary fractions otherwise, so that no sum of them is off by a rounding;
- a bar of volume 0 has quotes and no trade;
- bid and ask are positive multiples of the price increment with bid < ask, and a trade lies between them;
- everything follows from the seed, the symbol and the bar, and from nothing else: it can be made again at any
  time, in any order, and a longer series begins with the ticks of a shorter one.

Making them is arithmetic on columns, some hundred bars at once, because a page of history asks for thousands.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from holdfast.model.enums import AssetClass
from holdfast.model.market import Asset
from holdfast.model.series import BarSeries, Float64, Int64

__all__ = ["FIRST_CRYPTO_ID", "MOMENTS", "GeneratedTicks", "QuoteTick", "SymbolTicks", "Tick", "TradeTick"]

#: Moments of a bar at which there is a quote.
MOMENTS: Final = 8
#: Crypto's trade ids exceed what a float can hold, and clients must cope.
FIRST_CRYPTO_ID: Final = 1 << 60

_ROWS: Final = 128  # bars that are worked on at once
_BLOCKS: Final = 256  # of them are kept, some 15 MB
_EXTRA_TRADE: Final = 0.5  # chance of a trade at a moment that needs none
_SPREAD: Final = 1e-4  # of the price, where the venue names no other; never less than one increment
_QUIET_STOCK_SIZE: Final = 100.0  # shares quoted in a bar without volume
_QUIET_CRYPTO_VALUE: Final = 10_000.0  # USD quoted in a bar without volume
_DRAWS: Final = 8  # random numbers that a moment takes

_Bools = npt.NDArray[np.bool_]
_Bits = npt.NDArray[np.uint64]


class QuoteTick(msgspec.Struct, frozen=True, gc=False):
    """The best bid and ask from a moment (UTC ns) on."""

    ts: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float


class TradeTick(msgspec.Struct, frozen=True, gc=False):
    """One trade. ``taker`` is the side that took: ``B`` or ``S``."""

    ts: int
    id: int
    price: float
    size: float
    taker: str


Tick = QuoteTick | TradeTick


class SymbolTicks(Protocol):
    """The quotes and trades of one symbol, wherever they come from. Moments are UTC ns."""

    def over(self, series: BarSeries) -> SymbolTicks:
        """The ticks where other bars of the same times have taken the place of these."""
        ...

    def next_after(self, moment: int) -> int | None:
        """When the first tick after a moment is."""
        ...

    def between(self, after: int, until: int) -> list[Tick]:
        """The ticks of ``(after, until]`` in order; at equal times the quote comes first."""
        ...

    def latest(self, now: int) -> tuple[QuoteTick | None, TradeTick | None]:
        """The last quote and the last trade up to a moment, this moment included."""
        ...

    def quotes(self, since: int, until: int, *, newest_first: bool = False) -> Iterator[QuoteTick]:
        """The quotes of ``[since, until]``."""
        ...

    def trades(self, since: int, until: int, *, newest_first: bool = False) -> Iterator[TradeTick]:
        """The trades of ``[since, until]``."""
        ...

    def sums(self, start: int, stop: int) -> tuple[Int64, Float64]:
        """For each of the bars ``start`` to ``stop`` (exclusive): number of trades, and sum of price x size."""
        ...


class GeneratedTicks:
    """Ticks made of bars. See the module's first lines.

    Args:
        series: The bars.
        asset: What they are of: its price increment is the quotes'.
        seed: Chooses among all ticks that would do.
        spread: Full spread as a fraction of the price; 0 takes one basis point.
    """

    def __init__(self, series: BarSeries, asset: Asset, *, seed: int = 0, spread: float = 0.0) -> None:
        self._series = series
        self._made_with = (asset, seed, spread)
        self._begins: Int64 = series.ts - series.period
        self._is_crypto = asset.asset_class is AssetClass.CRYPTO
        self._spread = spread or _SPREAD
        self._increment = None if asset.price_increment is None else Decimal(asset.price_increment)
        if self._is_crypto and self._increment is None:
            self._increment = Decimal("0.000000001")
        self._first_id = FIRST_CRYPTO_ID if self._is_crypto else 1
        digest = blake2b(f"{seed}:{series.symbol}".encode(), digest_size=8).digest()
        self._key = np.uint64(int.from_bytes(digest, "big"))

    def over(self, series: BarSeries) -> GeneratedTicks:
        """The ticks where other bars of the same times have taken the place of these. Bars that stayed keep theirs."""
        asset, seed, spread = self._made_with
        return GeneratedTicks(series, asset, seed=seed, spread=spread)

    def next_after(self, moment: int) -> int | None:
        """When the first tick after a moment is."""
        row = self._row_at(moment)
        if row < len(self._begins):
            times, at = self._block_of(row)
            for ts in times.ts[at].tolist():
                if ts > moment:
                    return int(ts)
            row += 1
        return int(self._begins[row]) if row < len(self._begins) else None

    def between(self, after: int, until: int) -> list[Tick]:
        """The ticks of ``(after, until]`` in order; at equal times the quote comes first."""
        found: list[Tick] = []
        row = self._row_at(after)
        while row < len(self._begins) and self._begins[row] <= until:
            for quote, trade in self._moments(row):
                if after < quote.ts <= until:
                    found.append(quote)
                    if trade is not None:
                        found.append(trade)
            row += 1
        return found

    def latest(self, now: int) -> tuple[QuoteTick | None, TradeTick | None]:
        """The last quote and the last trade up to a moment, this moment included."""
        row = int(self._begins.searchsorted(now, side="right")) - 1
        if row < 0:
            return None, None
        moments = [moment for moment in self._moments(row) if moment[0].ts <= now]
        last = next((trade for _, trade in reversed(moments) if trade is not None), None)
        if last is None:
            traded = np.flatnonzero(self._series.volume[:row] > 0)
            if len(traded):
                last = self._moments(int(traded[-1]))[-1][1]
        return moments[-1][0], last

    def quotes(self, since: int, until: int, *, newest_first: bool = False) -> Iterator[QuoteTick]:
        """The quotes of ``[since, until]``."""
        for row in self._rows(since, until, newest_first=newest_first):
            moments = self._moments(row)
            for quote, _ in reversed(moments) if newest_first else moments:
                if since <= quote.ts <= until:
                    yield quote

    def trades(self, since: int, until: int, *, newest_first: bool = False) -> Iterator[TradeTick]:
        """The trades of ``[since, until]``."""
        for row in self._rows(since, until, newest_first=newest_first):
            moments = self._moments(row)
            for _, trade in reversed(moments) if newest_first else moments:
                if trade is not None and since <= trade.ts <= until:
                    yield trade

    def sums(self, start: int, stop: int) -> tuple[Int64, Float64]:
        """For each of the bars ``start`` to ``stop`` (exclusive): number of trades, and sum of price x size."""
        counts, values = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
        row = start
        while row < stop:
            block, at = self._block_of(row)
            end = min(at + stop - row, len(block.ts))
            traded = block.is_trade[at:end]
            counts.append(traded.sum(axis=1))
            values.append((block.price[at:end] * block.size[at:end] * traded).sum(axis=1))
            row += end - at
        return np.concatenate(counts), np.concatenate(values)

    # --- Inside ------------------------------------------------------------------------------------------------

    def _row_at(self, moment: int) -> int:
        """The bar in progress at a moment, or the next one."""
        return int(self._series.ts.searchsorted(moment, side="right"))

    def _rows(self, since: int, until: int, *, newest_first: bool) -> range:
        first, last = self._row_at(since), int(self._begins.searchsorted(until, side="right"))
        return range(last - 1, first - 1, -1) if newest_first else range(first, last)

    def _moments(self, row: int) -> list[tuple[QuoteTick, TradeTick | None]]:
        block, at = self._block_of(row)
        cached = block.moments.get(at)
        if cached is not None:
            return cached
        quotes = map(
            QuoteTick,
            block.ts[at].tolist(),
            block.bid[at].tolist(),
            block.bid_size[at].tolist(),
            block.ask[at].tolist(),
            block.ask_size[at].tolist(),
        )
        trades = zip(
            block.is_trade[at].tolist(),
            block.price[at].tolist(),
            block.size[at].tolist(),
            block.is_buy[at].tolist(),
            strict=True,
        )
        first = self._first_id + row * MOMENTS
        found = [
            (quote, TradeTick(quote.ts, first + number, price, size, "B" if is_buy else "S") if is_trade else None)
            for number, (quote, (is_trade, price, size, is_buy)) in enumerate(zip(quotes, trades, strict=True))
        ]
        block.moments.clear()  # one bar is asked for many times in a row, and then never again
        block.moments[at] = found
        return found

    def _block_of(self, row: int) -> tuple[_Block, int]:
        number, at = divmod(row, _ROWS)
        return _block(self, number), at

    def make(self, number: int) -> _Block:
        """The ticks of one block of bars."""
        bars = self._series.slice(number * _ROWS, (number + 1) * _ROWS)
        draws = _uniform(self._key, bars.ts).reshape(len(bars), MOMENTS, _DRAWS).transpose(2, 0, 1)
        jitter, side, extra, weight, bid_size, ask_size, noise, width = draws
        path, needed = _path(bars, noise, side[:, 1], extra[:, 1:3])
        scale, multiple = self._grid(path)
        path = _on_grid(bars, path, needed, scale, multiple)
        is_trade = (needed | (extra < _EXTRA_TRADE)) & (bars.volume > 0)[:, None]
        bid, ask, is_buy = self._quotes(path, side < 0.5, width, scale, multiple)
        mean = (bars.volume / MOMENTS)[:, None]
        quiet = _QUIET_CRYPTO_VALUE / path if self._is_crypto else np.full_like(path, _QUIET_STOCK_SIZE)
        mean = np.where(mean > 0, mean, quiet)
        return _Block(
            ts=_times(bars, jitter),
            bid=bid,
            bid_size=self._rounded_size(mean * (0.5 + bid_size)),
            ask=ask,
            ask_size=self._rounded_size(mean * (0.5 + ask_size)),
            price=path,
            size=_sizes(bars.volume, is_trade, weight),
            is_trade=is_trade,
            is_buy=is_buy,
        )

    def _grid(self, price: Float64) -> tuple[Float64, float]:
        """The price increment as ``multiple / scale``, both whole, for each price."""
        multiple = 1.0
        if self._increment is None:
            scale = np.where(price >= 1.0, 100.0, 10_000.0)
        else:
            _, digits, exponent = self._increment.as_tuple()
            multiple = float("".join(map(str, digits))) * 10.0 ** max(int(exponent), 0)
            scale = np.full_like(price, 10.0 ** max(-int(exponent), 0))
        # A price below one increment has a finer grid, or its bid would be nothing.
        tiny = price * scale < multiple
        if tiny.any():
            scale = np.where(tiny, multiple * 10.0 ** np.ceil(-np.log10(np.where(tiny, price, 1.0))), scale)
        return scale, multiple

    def _quotes(
        self, price: Float64, is_buy: _Bools, width: Float64, scale: Float64, multiple: float
    ) -> tuple[Float64, Float64, _Bools]:
        """Bid and ask around each price, on the grid. A buyer has paid the ask, a seller got the bid."""
        exact = price * scale / multiple
        units = np.rint(exact)
        on_grid = units * multiple / scale == price
        wide = np.maximum(1.0, exact * self._spread * (0.5 + width))
        magnitude = 10.0 ** np.floor(np.log10(wide))
        wide = np.maximum(1.0, np.rint(wide / magnitude) * magnitude)
        is_buy = is_buy & (units - wide >= 1.0)
        # Off the grid the quote straddles the price. The product above may be rounded across a whole number.
        below, above = np.floor(exact), np.floor(exact) + 1.0
        below -= below * multiple / scale > price
        above += above * multiple / scale < price
        outer = np.floor((wide - 1.0) / 2.0)
        bid = np.where(on_grid, np.where(is_buy, units - wide, units), np.maximum(below - outer, 1.0))
        ask = np.where(on_grid, np.where(is_buy, units, units + wide), above + wide - 1.0 - outer)
        return bid * multiple / scale, ask * multiple / scale, is_buy

    def _rounded_size(self, size: Float64) -> Float64:
        """Whole shares, one at least; coins to four digits."""
        if not self._is_crypto:
            return np.maximum(1.0, np.rint(size))
        scale = 10.0 ** np.clip(3.0 - np.floor(np.log10(size)), 0.0, 12.0)
        return np.maximum(np.rint(size * scale), 1.0) / scale


class _Block(msgspec.Struct, eq=False):
    """The ticks of some bars: columns of (bars, moments), and the bar that was last asked for as objects."""

    ts: Int64
    bid: Float64
    bid_size: Float64
    ask: Float64
    ask_size: Float64
    price: Float64
    size: Float64
    is_trade: _Bools
    is_buy: _Bools
    moments: dict[int, list[tuple[QuoteTick, TradeTick | None]]] = {}


@lru_cache(maxsize=_BLOCKS)
def _block(ticks: GeneratedTicks, number: int) -> _Block:
    """One cache for all symbols, so that it is bounded whatever their number."""
    return ticks.make(number)


def _uniform(key: np.uint64, ts: Int64) -> Float64:
    """Random numbers of [0, 1), so many for each bar, by its time and the key alone (SplitMix64)."""
    with np.errstate(over="ignore"):
        state: _Bits = _mixed(ts.astype(np.uint64) ^ key)[:, None]
        steps: _Bits = np.arange(1, MOMENTS * _DRAWS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        bits = _mixed(state + steps[None, :])
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(bits: _Bits) -> _Bits:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _times(bars: BarSeries, jitter: Float64) -> Int64:
    """The first at the bar's begin, the others somewhere in their eighths; whole microseconds in all but tiny bars."""
    slot = bars.period // MOMENTS
    offset = np.arange(MOMENTS) * slot + (jitter * slot).astype(np.int64)
    if slot >= 1_000:
        offset -= offset % 1_000
    offset[:, 0] = 0
    return (bars.ts - bars.period)[:, None] + offset


def _path(bars: BarSeries, noise: Float64, coin: Float64, places: Float64) -> tuple[Float64, _Bools]:
    """Prices from the open by way of the high and the low to the close; and which moments these four are."""
    count = len(bars)
    first = 1 + (places[:, 0] * 3).astype(np.int64)
    second = 4 + (places[:, 1] * 3).astype(np.int64)
    is_up = coin < 0.5
    one, other = np.where(is_up, bars.high, bars.low), np.where(is_up, bars.low, bars.high)
    stops: Int64 = np.stack([np.zeros(count, dtype=np.int64), first, second, np.full(count, MOMENTS - 1)], axis=1)
    values = np.stack([bars.open, one, other, bars.close], axis=1)
    place = np.arange(MOMENTS)[None, :]
    leg = (place > first[:, None]).astype(np.int64) + (place > second[:, None])
    begin, end = np.take_along_axis(stops, leg, 1), np.take_along_axis(stops, leg + 1, 1)
    start, stop = np.take_along_axis(values, leg, 1), np.take_along_axis(values, leg + 1, 1)
    path = start + (stop - start) * (place - begin) / (end - begin)
    path += (noise - 0.5) * 0.2 * (bars.high - bars.low)[:, None]
    needed = np.zeros((count, MOMENTS), dtype=np.bool_)
    np.put_along_axis(path, stops, values, 1)
    np.put_along_axis(needed, stops, True, 1)  # noqa: FBT003 - NumPy's own signature
    return np.clip(path, bars.low[:, None], bars.high[:, None]), needed


def _on_grid(bars: BarSeries, path: Float64, needed: _Bools, scale: Float64, multiple: float) -> Float64:
    """The prices between the four that are given, on the grid and within the bar."""
    rounded = np.clip(np.rint(path * scale / multiple) * multiple / scale, bars.low[:, None], bars.high[:, None])
    return np.where(needed, path, rounded)


def _sizes(volume: Float64, is_trade: _Bools, weight: Float64) -> Float64:
    """Split each volume among the trades, exactly: in whole units of its last decimal, or of its last bit."""
    units, unit_scale = np.zeros_like(volume), np.ones_like(volume)
    for decimals in range(9, -1, -1):
        scaled = np.rint(volume * 10.0**decimals)
        fits = (scaled / 10.0**decimals == volume) & (scaled < 1e15)
        units, unit_scale = np.where(fits, scaled, units), np.where(fits, 10.0**decimals, unit_scale)
    few = (units > 0) & (units < 2 * MOMENTS)
    units, unit_scale = np.where(few, units * 100.0, units), np.where(few, unit_scale * 100.0, unit_scale)
    binary = (units == 0) & (volume > 0)
    if binary.any():
        mantissa, exponent = np.frexp(volume)
        units = np.where(binary, mantissa * 2.0**53, units)
        unit_scale = np.where(binary, 2.0 ** (53.0 - exponent), unit_scale)
    weights = np.where(is_trade, 0.1 + weight, 0.0)
    total = weights.sum(axis=1, keepdims=True)
    count = is_trade.sum(axis=1, keepdims=True)
    share = weights / np.where(total > 0, total, 1.0)
    parts = np.where(is_trade, 1.0 + np.floor((units[:, None] - count) * share), 0.0).astype(np.int64)
    # What the rounding left goes to the largest, where it cannot make a size negative.
    rest = units.astype(np.int64) - parts.sum(axis=1)
    largest = parts.argmax(axis=1)[:, None]
    np.put_along_axis(parts, largest, np.take_along_axis(parts, largest, 1) + rest[:, None], 1)
    return parts / unit_scale[:, None]
