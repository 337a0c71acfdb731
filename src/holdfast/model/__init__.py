"""Frozen messages and values: the words in which every other part speaks. Imports nothing of ours."""

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
from holdfast.model.market import Asset, Bar, Quote, Trade
from holdfast.model.orders import Account, AccountActivity, BrokerPosition, Execution, OrderIntent, OrderReport
from holdfast.model.series import BarSeries
from holdfast.model.signals import Signal, Verdict
from holdfast.model.terms import OrderTerms
from holdfast.model.trades import ClosedTrade

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
