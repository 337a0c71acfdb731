"""Bars, signals and strategies for the runner's tests, and a way to wait for a condition without sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from holdfast.model import Bar, Execution, OrderSide, Signal
from holdfast.model.timestamps import NS_PER_MINUTE
from holdfast.state.order_tracker import InFlightOrder
from holdfast.strategies import Strategy
from holdfast.testing import InProcessBot
from holdfast.testing.bot import START

BUY, SELL = OrderSide.BUY, OrderSide.SELL
_PATIENCE_SECONDS = 30.0  # a safety net: nothing here takes a hundredth of it

Act = Callable[[Strategy, Bar], object]


def bar(minute: int, price: float = 100.0, symbol: str = "SPY", volume: float = 1000.0) -> Bar:
    """The bar that ends so many minutes after the start, at one price."""
    return Bar(START + minute * NS_PER_MINUTE, symbol, price, price, price, price, volume)


def buy(quantity: int = 10, symbol: str = "SPY", limit: float | None = None) -> Signal:
    """A wish to buy."""
    return _signal(BUY, quantity, symbol, limit)


def sell(quantity: int = 10, symbol: str = "SPY", limit: float | None = None) -> Signal:
    """A wish to sell."""
    return _signal(SELL, quantity, symbol, limit)


def _signal(side: OrderSide, quantity: int, symbol: str, limit: float | None) -> Signal:
    price = None if limit is None else Decimal(repr(limit))
    return Signal(symbol=symbol, side=side, quantity=Decimal(quantity), price=price)


class Scripted(Strategy):
    """Does at its n-th bar (from 1) what it was given for it, and remembers what it was told."""

    def __init__(self, symbols: Sequence[str], acts: dict[int, Act] | None = None) -> None:
        super().__init__(symbols)
        self.acts = acts or {}
        self.bars = 0
        self.told: list[object] = []

    def on_bar(self, bar: Bar) -> None:
        """Act."""
        self.bars += 1
        act = self.acts.get(self.bars)
        if act is not None:
            act(self, bar)

    def on_fill(self, execution: Execution, order: InFlightOrder) -> None:
        """Remember."""
        self.told.append((order.client_order_id, execution.quantity))


async def trading(*strategies: Strategy, **parts: Any) -> InProcessBot:
    """A bot that has started and has seen one bar of SPY: it knows a price, so it may open positions."""
    listening = strategies or (Scripted(["SPY"]),)
    bot = InProcessBot(lambda: listening, **parts)
    await bot.start()
    await bot.play(bar(1))
    return bot


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop turn until something holds."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not condition():
            await turns(1)


async def turns(count: int = 200) -> None:
    """Give everything that could happen now the chance to happen."""
    for _ in range(count):
        await asyncio.sleep(0)
