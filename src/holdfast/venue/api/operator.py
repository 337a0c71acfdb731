"""The admin port: the venue's time, its market and its accounts, in the hands of whoever runs it.

GET  /state                     everything at a glance
POST /time       {"now"}        move time forward to a moment
POST /speed      {"speed"}      venue seconds per real second
POST /pause, /run               let the time stand still, let it flow
POST /step       {"steps"} or {"bars"}   while it stands still
POST /symbols/SYMBOL/halt, /resume
POST /symbols/SYMBOL/price      {"price"}
POST /symbols/SYMBOL/split      {"from", "to"}
POST /symbols/SYMBOL/dividend   {"rate"}
POST /symbols/SYMBOL/trades     {"price", "size", "at"}     reported late
POST /symbols/SYMBOL/trades/ID/correct   {"price", "size"}
POST /symbols/SYMBOL/trades/ID/cancel    {"action"}
POST /accounts/KEY/reset        {"cash"}
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, Literal

from holdfast.model.errors import DataError
from holdfast.model.timestamps import format_rfc3339
from holdfast.venue.accounts import VenueAccount
from holdfast.venue.exchange import Exchange
from holdfast.venue.http import Answer, Request, Route
from holdfast.venue.lockstep import Pacer
from holdfast.venue.market.amended_ticks import Amendment
from holdfast.venue.market_view import MarketView
from holdfast.venue.matching.refusals import refuse, refuse_invalid
from holdfast.venue.operations import (
    Borrow,
    CancelTrade,
    CorrectTrade,
    Dividend,
    Halt,
    LateTrade,
    MovePrice,
    Operation,
    Reset,
    Resume,
    Split,
)
from holdfast.venue.streams.hub import Hub
from holdfast.venue.wire.market import bar_body, json_time, trade_body
from holdfast.venue.wire.words import Json, amount, parse_amount, parse_time

_STEPS_MAX: Final = 100_000
_SPEED_MAX: Final = 1e9
_CONFLICT, _CONFLICT_CODE = 409, 40910000


class OperatorApi:
    """The handlers.

    Args:
        exchange: What is operated.
        pacer: What moves the time; None in lock-step.
        hub: Who is connected.
        is_driven: Whether a lock-step driver is connected.
        on_reset: Called when a key pair has a new account in place of an old one.
        on_halt: Called when a symbol has been halted, or resumed.
        on_amended: Called when a trade of the past has been reported, corrected or cancelled.
        cash: What an account is reset to where nothing else is asked for (USD).
    """

    def __init__(
        self,
        exchange: Exchange,
        pacer: Pacer | None,
        hub: Hub,
        *,
        is_driven: Callable[[], bool],
        on_reset: Callable[[VenueAccount, VenueAccount], None],
        on_halt: Callable[[str, bool], None],
        on_amended: Callable[[Amendment], None],
        cash: Decimal,
    ) -> None:
        self._exchange = exchange
        self._pacer = pacer
        self._hub = hub
        self._is_driven = is_driven
        self._on_reset = on_reset
        self._on_halt = on_halt
        self._on_amended = on_amended
        self._market = MarketView(exchange)
        self._cash = cash

    def routes(self) -> list[Route]:
        """The table, for the admin port."""
        rows: list[tuple[Literal["GET", "POST"], str, Callable[[Request], Answer]]] = [
            ("GET", "/state", self.state),
            ("POST", "/time", self.set_time),
            ("POST", "/speed", self.set_speed),
            ("POST", "/pause", self.pause),
            ("POST", "/run", self.run),
            ("POST", "/step", self.step),
            ("POST", "/symbols/{}/halt", self.halt),
            ("POST", "/symbols/{}/resume", self.resume),
            ("POST", "/symbols/{}/price", self.move_price),
            ("POST", "/symbols/{}/split", self.split),
            ("POST", "/symbols/{}/borrow", self.restrict_borrowing),
            ("POST", "/symbols/{}/dividend", self.pay_dividend),
            ("POST", "/symbols/{}/trades", self.report_trade),
            ("POST", "/symbols/{}/trades/{}/correct", self.correct_trade),
            ("POST", "/symbols/{}/trades/{}/cancel", self.cancel_trade),
            ("POST", "/accounts/{}/reset", self.reset),
        ]
        return [Route(method, pattern, handler, access="public") for method, pattern, handler in rows]

    def state(self, request: Request) -> Answer:
        """Everything at a glance."""
        return Answer(self._state())

    # --- Time --------------------------------------------------------------------------------------------------

    def set_time(self, request: Request) -> Answer:
        """Move time forward; everything that is due on the way happens."""
        pacer, body = self._timekeeper("its time cannot be set"), _object(request, "now")
        text = body.get("now")
        if not isinstance(text, str):
            refuse_invalid("now must be a time like 2024-01-02T14:30:00Z")
        moment, now = parse_time(text, "now"), self._exchange.now
        if moment < now:
            refuse_invalid(f"time only moves forward: it is {format_rfc3339(now)}, and {text} was asked for")
        try:
            pacer.move_to(moment)
        except DataError as error:
            refuse_invalid(f"now cannot be {text}: {error}")
        return self.state(request)

    def set_speed(self, request: Request) -> Answer:
        """Change how fast time flows."""
        pacer, body = self._timekeeper("it has no speed"), _object(request, "speed")
        speed = body.get("speed")
        if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed <= _SPEED_MAX:
            refuse_invalid(f"speed must be a number above 0 and at most {_SPEED_MAX:g}, got {speed!r}")
        pacer.change_speed(float(speed))
        return self.state(request)

    def pause(self, request: Request) -> Answer:
        """Let the time stand still."""
        self._timekeeper("its time stands still between steps").pause()
        return self.state(request)

    def run(self, request: Request) -> Answer:
        """Let the time flow, also before anyone listens."""
        self._timekeeper("its time does not flow").go_on()
        return self.state(request)

    def step(self, request: Request) -> Answer:
        """Do so many steps of the market, or as many as end so many bars."""
        body = _object(request, "steps", "bars")
        if len(body) > 1:
            refuse_invalid("give steps or bars, not both")
        name, count = next(iter(body.items()), ("steps", 1))
        if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= _STEPS_MAX:
            refuse_invalid(f"{name} must be a whole number from 1 to {_STEPS_MAX}, got {count!r}")
        if self._pacer is not None and self._pacer.is_running:
            refuse(_CONFLICT, _CONFLICT_CODE, "the time is flowing: POST /pause first")
        if self._is_driven():
            refuse(_CONFLICT, _CONFLICT_CODE, "a lock-step driver is connected, and it moves the time")
        self._exchange.step(count, bars_only=name == "bars")
        if self._pacer is not None:
            self._pacer.anchor()
        return self.state(request)

    # --- The market --------------------------------------------------------------------------------------------

    def halt(self, request: Request) -> Answer:
        """Halt a symbol."""
        return self._halt(request, Halt(request.parts[0]), is_halted=True)

    def resume(self, request: Request) -> Answer:
        """Let it trade again."""
        return self._halt(request, Resume(request.parts[0]), is_halted=False)

    def move_price(self, request: Request) -> Answer:
        """Move a price."""
        body = _object(request, "price")
        price = float(parse_amount(body.get("price"), "price"))
        return self._operate(request, MovePrice(request.parts[0], price))

    def split(self, request: Request) -> Answer:
        """Split a stock."""
        body = _object(request, "from", "to")
        old, new = body.get("from"), body.get("to")
        if isinstance(old, bool) or isinstance(new, bool) or not isinstance(old, int) or not isinstance(new, int):
            refuse_invalid('a split needs two whole numbers: {"from": 1, "to": 2} makes two shares of one')
        return self._operate(request, Split(request.parts[0], old, new))

    def restrict_borrowing(self, request: Request) -> Answer:
        """Make a stock hard to borrow, or easy again."""
        status = _object(request, "status").get("status")
        if status not in ("easy_to_borrow", "hard_to_borrow"):
            refuse_invalid("status must be easy_to_borrow or hard_to_borrow")
        return self._operate(request, Borrow(request.parts[0], status == "hard_to_borrow"))

    def pay_dividend(self, request: Request) -> Answer:
        """Pay a cash dividend to whoever holds a stock; who is short of it pays."""
        rate = parse_amount(_object(request, "rate").get("rate"), "rate")
        return self._operate(request, Dividend(request.parts[0], rate))

    # --- Its past ----------------------------------------------------------------------------------------------

    def report_trade(self, request: Request) -> Answer:
        """Report a late trade in a bar that has ended; the bar is revised."""
        body = _object(request, "price", "size", "at")
        at = body.get("at")
        if not isinstance(at, str | None):
            refuse_invalid("at must be a time like 2024-01-02T14:30:00Z")
        price, size = _price_and_size(body)
        return self._amend(LateTrade(request.parts[0], price, size, None if at is None else parse_time(at, "at")))

    def correct_trade(self, request: Request) -> Answer:
        """Correct price and size of a trade of a bar that has ended; the bar is revised."""
        price, size = _price_and_size(_object(request, "price", "size"))
        return self._amend(CorrectTrade(request.parts[0], _trade_id(request), price, size))

    def cancel_trade(self, request: Request) -> Answer:
        """Cancel a trade of a bar that has ended (`C`), or take it back as an error (`E`); the bar is revised."""
        action = _object(request, "action").get("action", "C")
        if not isinstance(action, str):
            refuse_invalid("action must be C (cancel) or E (error)")
        return self._amend(CancelTrade(request.parts[0], _trade_id(request), action))

    # --- Accounts ----------------------------------------------------------------------------------------------

    def reset(self, request: Request) -> Answer:
        """Give a key pair a new account."""
        body, key = _object(request, "cash"), request.parts[0]
        cash = parse_amount(body["cash"], "cash") if "cash" in body else self._cash
        old = self._exchange.account_of(key)
        self._exchange.operate(Reset(key, cash))
        new = self._exchange.account_of(key)
        if old is not None and new is not None:
            self._on_reset(old, new)
        return self.state(request)

    # --- Inside ------------------------------------------------------------------------------------------------

    def _halt(self, request: Request, operation: Halt | Resume, *, is_halted: bool) -> Answer:
        self._exchange.operate(operation)
        self._on_halt(self._exchange.symbol_of(operation.symbol) or operation.symbol, is_halted)
        return self.state(request)

    def _operate(self, request: Request, operation: Operation) -> Answer:
        self._exchange.operate(operation)
        return self.state(request)

    def _amend(self, operation: Operation) -> Answer:
        """Change the past; the answer shows the trade and the bar as they are now."""
        amendment = self._exchange.operate(operation)
        if amendment is None:
            return Answer({})
        self._on_amended(amendment)
        symbol, after = amendment.symbol, amendment.after
        asset, bar = self._exchange.assets[symbol], self._market.bar_at(symbol, amendment.row)
        return Answer(
            {
                "symbol": symbol,
                "trade": None if after is None else trade_body(after, asset, json_time),
                "bar": bar_body(bar, json_time),
                "revised": amendment.is_revised,
            }
        )

    def _timekeeper(self, why: str) -> Pacer:
        if self._pacer is None:
            refuse(
                _CONFLICT,
                _CONFLICT_CODE,
                f"this venue runs in lock-step: {why}; start it with a speed that is a number",
            )
        return self._pacer

    def _state(self) -> Json:
        exchange, pacer = self._exchange, self._pacer
        due = exchange.next_at()
        return {
            "now": format_rfc3339(exchange.now),
            "now_ns": exchange.now,
            "next_step": None if due is None else format_rfc3339(due),
            "done": exchange.done,
            "speed": "max" if pacer is None else pacer.speed,
            "running": pacer is not None and pacer.is_running,
            "paused": pacer is not None and pacer.is_paused,
            "driven": self._is_driven(),
            "symbols": {symbol: self._symbol(symbol) for symbol in sorted(exchange.series)},
            "accounts": {account.key: self._account(account) for account in exchange.present_accounts()},
        }

    def _symbol(self, symbol: str) -> Json:
        exchange = self._exchange
        return {
            "price": exchange.last_price(symbol),
            "halted": symbol in exchange.group.halted,
            "hard_to_borrow": symbol in exchange.group.hard_to_borrow,
            "bars": exchange.visible[symbol],
            "bars_to_come": len(exchange.series[symbol]) - exchange.visible[symbol],
        }

    def _account(self, account: VenueAccount) -> Json:
        view = account.engine.account()
        return {
            "number": account.number,
            "id": account.id,
            "cash": amount(view.cash),
            "equity": amount(view.equity),
            "open_orders": account.engine.open_count,
            "listening": self._hub.is_listening(account),
        }


def _price_and_size(body: dict[str, Any]) -> tuple[float, float]:
    return float(parse_amount(body.get("price"), "price")), float(parse_amount(body.get("size"), "size"))


def _trade_id(request: Request) -> int:
    text = request.parts[1]
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        refuse_invalid(f"a trade's id is a whole number, got {text[:40]!r}")
    return int(text)


def _object(request: Request, *members: str) -> dict[str, Any]:
    """The body, in which nothing but these members may be."""
    body = request.json() if request.body else {}
    if not isinstance(body, dict):
        refuse_invalid("request body must be a JSON object")
    strange = sorted(body.keys() - set(members))
    if strange:
        refuse_invalid(f"unknown member {strange[0]!r}; expected {' or '.join(members)}")
    return body
