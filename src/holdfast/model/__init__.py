"""Frozen messages and values: the words in which every other part speaks. Imports nothing of ours."""

from typing import TYPE_CHECKING

from holdfast.model.enums import (
    ActivityKind,
    AssetClass,
    Foreign,
    GuardMode,
    OrderClass,
    OrderSide,
    OrderStatus,
    OrderType,
    Outcome,
    Source,
    Stage,
    TimeInForce,
    TradingState,
)
from holdfast.model.later import later
from holdfast.model.market import Asset, Bar, Quote, Trade
from holdfast.model.orders import Account, AccountActivity, BrokerPosition, Execution, OrderIntent, OrderReport
from holdfast.model.signals import Signal, Verdict
from holdfast.model.terms import OrderTerms
from holdfast.model.trades import ClosedTrade

if TYPE_CHECKING:
    from holdfast.model.series import BarSeries
else:
    __getattr__ = later(__name__, {"BarSeries": "series"})  # NumPy takes longer to load than all the rest

__all__ = [
    "Account",
    "AccountActivity",
    "ActivityKind",
    "Asset",
    "AssetClass",
    "Bar",
    "BarSeries",
    "BrokerPosition",
    "ClosedTrade",
    "Execution",
    "Foreign",
    "GuardMode",
    "OrderClass",
    "OrderIntent",
    "OrderReport",
    "OrderSide",
    "OrderStatus",
    "OrderTerms",
    "OrderType",
    "Outcome",
    "Quote",
    "Signal",
    "Source",
    "Stage",
    "TimeInForce",
    "Trade",
    "TradingState",
    "Verdict",
]
