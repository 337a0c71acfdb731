"""Alpaca's trading API: positions."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import Final

from holdfast.model.enums import AssetClass, OrderSide, OrderType, TimeInForce
from holdfast.venue.accounts import VenueAccount
from holdfast.venue.exchange import Exchange
from holdfast.venue.http import Answer, Request, Route
from holdfast.venue.matching.account import PositionView
from holdfast.venue.matching.orders import NewOrder, Refusal, VenueOrder
from holdfast.venue.matching.refusals import refuse_invalid
from holdfast.venue.matching.rules import Rule
from holdfast.venue.wire.account import position_json
from holdfast.venue.wire.assets import asset_id
from holdfast.venue.wire.orders import order_json
from holdfast.venue.wire.words import Json, parse_amount, parse_flag, refusal_json, slashless

_NANO: Final = Decimal("0.000000001")


class PositionsApi:
    """The handlers, over one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[Route]:
        """The table."""
        return [
            Route("GET", "/v2/positions", self.positions),
            Route("DELETE", "/v2/positions", self.close_all),
            Route("GET", "/v2/positions/{}", self.position),
            Route("DELETE", "/v2/positions/{}", self.close),
        ]

    def positions(self, request: Request) -> Answer:
        """GET /v2/positions."""
        rows = request.owner.engine.positions()
        return Answer([position_json(row, self._exchange.assets[row.symbol]) for row in rows])

    def position(self, request: Request) -> Answer:
        """GET /v2/positions/{symbol or asset id}."""
        row = self._position(request.owner, request.parts[0])
        return Answer(position_json(row, self._exchange.assets[row.symbol]))

    def close(self, request: Request) -> Answer:
        """DELETE /v2/positions/{symbol or asset id}: a market order for all of it, for ``qty`` or for ``percentage``."""
        row = self._position(request.owner, request.parts[0])
        quantity, percentage = request.query.get("qty"), request.query.get("percentage")
        if quantity and percentage:
            refuse_invalid("only one of qty or percentage is accepted")
        wanted = abs(row.quantity)
        if quantity:
            wanted = parse_amount(quantity, "qty")
        elif percentage:
            share = parse_amount(percentage, "percentage")
            if not 0 < share <= 100:
                refuse_invalid("percentage must be above 0 and at most 100")
            wanted = (wanted * share / 100).quantize(_NANO, ROUND_DOWN)
        return Answer(order_json(self._close(request.owner, row, wanted)))

    def close_all(self, request: Request) -> Answer:
        """DELETE /v2/positions."""
        account = request.owner
        if parse_flag(request.query.get("cancel_orders", "false")):
            for order in account.engine.orders("open", newest_first=False):
                self._exchange.cancel(account, order.id)
        answers: list[Json] = []
        for row in account.engine.positions():
            symbol = slashless(row.symbol)
            try:
                body = order_json(self._close(account, row, abs(row.quantity)))
                answers.append({"symbol": symbol, "status": 200, "body": body})
            except Refusal as refusal:
                answers.append({"symbol": symbol, "status": refusal.http_status, "body": refusal_json(refusal)})
        return Answer(answers, 207)

    def _close(self, account: VenueAccount, row: PositionView, quantity: Decimal) -> VenueOrder:
        crypto = row.asset_class is AssetClass.CRYPTO
        order = NewOrder(
            symbol=row.symbol,
            side=OrderSide.SELL if row.quantity > 0 else OrderSide.BUY,
            order_type=OrderType.MARKET,
            time_in_force=TimeInForce.GTC if crypto else TimeInForce.DAY,
            quantity=quantity,
        )
        return self._exchange.submit(account, order)

    def _position(self, account: VenueAccount, name: str) -> PositionView:
        # A slash makes another path of it, at Alpaca: a coin's position is BTCUSD.
        row = None if "/" in name else account.engine.position(name)
        if row is None:
            for candidate in account.engine.positions():
                if name in (asset_id(candidate.symbol), asset_id(slashless(candidate.symbol))):
                    return candidate
            raise Rule.POSITION_UNKNOWN.refusal()
        return row
