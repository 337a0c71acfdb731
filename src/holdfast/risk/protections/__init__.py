"""Circuit breakers: after losses, they stop new positions for a while. They never stop an exit.

The rule of time, the same for all that judge trades: a protection trips at a trade's close, judging the trades
in ``(close - lookback, close]``, and protects while ``close <= now < close + cooldown``. A trade that does not
itself trip it never extends it. So the verdict at a moment follows from the trades alone, whatever was asked
before, and a restart forgets nothing.
"""

from holdfast.risk.protections.base import NOT_PROTECTED, Hold, Protection, ProtectionResult, ProtectionTrigger
from holdfast.risk.protections.cooldown import CooldownPeriod
from holdfast.risk.protections.daily_loss import DailyLossLimit
from holdfast.risk.protections.drawdown import MaxDrawdown
from holdfast.risk.protections.low_profit import LowProfitSymbols
from holdfast.risk.protections.manager import ProtectionManager, create_default_protections
from holdfast.risk.protections.stoploss import StoplossGuard
from holdfast.risk.protections.trades import Close, is_stoploss

__all__ = [
    "NOT_PROTECTED",
    "Close",
    "CooldownPeriod",
    "DailyLossLimit",
    "Hold",
    "LowProfitSymbols",
    "MaxDrawdown",
    "Protection",
    "ProtectionManager",
    "ProtectionResult",
    "ProtectionTrigger",
    "StoplossGuard",
    "create_default_protections",
    "is_stoploss",
]
