"""Guards: protections (circuit breakers after losses) and the pre-trade risk gate (limits on every order).

Both fail closed, for opening orders only: what they lack the data to judge they block, and what reduces a
position they let through.
"""

from holdfast.risk.gate import CHECKS, Check, GateResult, PreTradeRiskGate
from holdfast.risk.limits import RiskLimits
from holdfast.risk.view import RiskView, StaticRiskView

__all__ = ["CHECKS", "Check", "GateResult", "PreTradeRiskGate", "RiskLimits", "RiskView", "StaticRiskView"]
