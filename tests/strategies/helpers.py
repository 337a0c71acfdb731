"""One strategy in a kernel whose orders fill at once, at the close of the bar on which they were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.kernel import Kernel
from holdfast.model import Bar
from holdfast.model.commands import SubmitOrder
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE
from holdfast.risk import PreTradeRiskGate
from holdfast.risk.protections import ProtectionManager
from holdfast.strategies import Strategy
from holdfast.time import FixedSessions
from tests.kernel.helpers import SPY, Bench, of

DAY = 19_724 * NS_PER_DAY  # 2024-01-02
OPEN, CLOSE = 14 * NS_PER_HOUR, 15 * NS_PER_HOUR  # sessions of sixty bars
BARS_A_DAY = 60

Asked = tuple[int, str, str]


class Tape(Bench):
    """Shows rows of (close, volume) as minute bars, sixty a day, and notes what the strategy asks for.

    Args:
        strategy: Trades SPY.
        fills: Whether orders fill; else the venue refuses them, and the strategy stays flat.
        **asset: Changes of what the venue says of SPY.
    """

    def __init__(self, strategy: Strategy, *, fills: bool = True, **asset: Any) -> None:
        super().__init__(ready=False)
        self.kernel = Kernel(
            [strategy],
            protections=ProtectionManager(),
            gate=PreTradeRiskGate(),
            sessions_for=lambda _: FixedSessions(OPEN, CLOSE),
        )
        self.fills = fills
        self.asked: list[Asked] = []
        self.index = 0
        self.now = DAY + OPEN
        self.begin()
        self.load(**asset)
        self.reported()

    def play(self, rows: Sequence[tuple[float, float]]) -> list[Asked]:
        """Show rows; answer with what was asked for on them, as (row, side, reason)."""
        for close, volume in rows:
            self.now = moment(self.index)
            for submit in of(SubmitOrder, self.show(Bar(self.now, SPY, close, close, close, close, volume))):
                intent = submit.intent
                self.asked.append((self.index, intent.side.value, intent.reason))
                if self.fills:
                    self.filled(intent, intent.quantity, close)
                else:
                    self.refused(intent)
            self.index += 1
        return self.asked

    def skip_to_day(self, day: int) -> None:
        """The next row is the first of that day."""
        self.index = day * BARS_A_DAY


def moment(index: int) -> int:
    """When the bar of a row ends (UTC ns)."""
    day, minute = divmod(index, BARS_A_DAY)
    return DAY + day * NS_PER_DAY + OPEN + (minute + 1) * NS_PER_MINUTE
