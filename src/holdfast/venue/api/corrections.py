"""What an operator of the venue may do to an account: post an activity that is no trade, and bust an execution.

Real venues do both, and a client has to cope: a fee at the end of the day, a split overnight, a trade that is
taken back. Here they are requests to the admin port, so that tests meet them over the same wire as everything else:

    POST /accounts/{key}/activities   {"activity_type", "symbol", "qty", "net_amount"}
    POST /accounts/{key}/busts        {"execution_id"}

Like orders they are inputs of the book: a restarted venue has them still.
"""

from __future__ import annotations

from decimal import Decimal

from holdfast.venue.accounts import VenueAccount
from holdfast.venue.api.account import ACTIVITY_TYPES
from holdfast.venue.exchange import Exchange
from holdfast.venue.http import Answer, Request, Route
from holdfast.venue.matching.orders import Posting
from holdfast.venue.matching.refusals import refuse_invalid, refuse_missing
from holdfast.venue.wire.account import activity_json, posted_json
from holdfast.venue.wire.words import parse_amount

_ZERO = Decimal(0)


class CorrectionsApi:
    """The handlers, over one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> list[Route]:
        """The table, for the admin port."""
        return [
            Route("POST", "/accounts/{}/activities", self.post_activity, access="public"),
            Route("POST", "/accounts/{}/busts", self.bust, access="public"),
        ]

    def post_activity(self, request: Request) -> Answer:
        """Book an activity; the answer is its row."""
        account, body = self._account(request), _object(request)
        word = body.get("activity_type")
        if not isinstance(word, str) or word == "FILL" or not ACTIVITY_TYPES.fullmatch(word):
            refuse_invalid(f"invalid activity type: {str(word)[:40]}")
        name = body.get("symbol") or ""
        symbol = self._exchange.symbol_of(name) if isinstance(name, str) and name else ""
        if symbol is None:
            refuse_missing(f"asset not found for {name}")
        quantity = parse_amount(body["qty"], "qty") if "qty" in body else _ZERO
        cash = parse_amount(body["net_amount"], "net_amount") if "net_amount" in body else _ZERO
        row = self._exchange.post(account, Posting(word, symbol, quantity, cash))
        return Answer(posted_json(row))

    def bust(self, request: Request) -> Answer:
        """Take an execution back; the answer is its FILL row."""
        account, body = self._account(request), _object(request)
        execution_id = body.get("execution_id")
        if not isinstance(execution_id, str):
            refuse_invalid("execution_id is required")
        return Answer(activity_json(self._exchange.bust(account, execution_id)))

    def _account(self, request: Request) -> VenueAccount:
        account = self._exchange.account_of(request.parts[0])
        if account is None:
            refuse_missing(f"account not found for {request.parts[0]}")
        return account


def _object(request: Request) -> dict[str, object]:
    body = request.json()
    if not isinstance(body, dict):
        refuse_invalid("request body must be a JSON object")
    return body
