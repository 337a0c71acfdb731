"""Changes of an account that no trade makes: what is posted, executions that are taken back, what its owner sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from holdfast.model.decimals import Exact
from holdfast.model.enums import OrderSide
from holdfast.venue.matching.account import Account
from holdfast.venue.matching.configuration import Configuration
from holdfast.venue.matching.instruments import Instrument
from holdfast.venue.matching.orders import VenueExecution, not_found, unprocessable


class Amendments:
    """Amends one account. The engine has one, and it refuses what would turn a position around.

    Attributes:
        busted: Ids of the executions that were taken back, oldest first.
    """

    def __init__(self, account: Account, instruments: Mapping[str, Instrument]) -> None:
        self._account = account
        self._instruments = instruments
        self.busted: dict[str, None] = {}

    @property
    def configuration(self) -> Configuration:
        """What the account's owner has set."""
        return self._account.configuration

    def configure(self, configuration: Configuration) -> None:
        """Obey other switches from now on."""
        self._account.configure(configuration)

    def adjust(self, symbol: str, change: Decimal, cash: Decimal) -> None:
        """Change a position and the cash: a fee, a dividend, a split. What is held keeps its cost.

        Raises:
            Refusal: There is no such symbol, or the position would turn around; nothing has changed.
        """
        instrument = self._instruments.get(symbol)
        if instrument is None and (symbol or change):
            message = f"asset not found for {symbol}"
            raise not_found(message)
        with Exact():
            if instrument is not None and change:
                self._refuse_crossing(instrument, change)
                self._account.rescale(instrument, change)
            self._account.cash += cash

    def scale(self, symbol: str, factor: float) -> None:
        """Let the price of the last day's close be so many times what it was: the symbol was split."""
        self._account.scale_lastday(symbol, factor)

    def take_back(self, executions: Sequence[VenueExecution], execution_id: str) -> VenueExecution:
        """Position and cash as if an execution had not been.

        Raises:
            Refusal: There is no such execution, it is busted already, or the position would turn around.
        """
        execution = next((row for row in executions if row.execution_id == execution_id), None)
        if execution is None:
            message = f"execution not found for {execution_id}"
            raise not_found(message)
        if execution_id in self.busted:
            message = f"execution {execution_id} is busted already"
            raise unprocessable(message)
        instrument = self._instruments[execution.symbol]
        with Exact():
            net, cost = execution.quantity - execution.fee_coin, execution.quantity * execution.price
            bought = execution.side is OrderSide.BUY
            change, cash = (-net, cost) if bought else (net, execution.fee_cash - cost)
            self._refuse_crossing(instrument, change)
            self._account.trade(instrument, change, execution.price, cash)
        self.busted[execution_id] = None
        return execution

    def _refuse_crossing(self, instrument: Instrument, change: Decimal) -> None:
        held = self._account.held(instrument.symbol)
        if held and held * (held + change) < 0:
            message = f"the position of {held:f} {instrument.symbol} would turn around"
            raise unprocessable(message)
