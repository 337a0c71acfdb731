"""What is asked of a venue, step by step: tiny orders far from the market, every harmless refusal, one share bought and sold.

Each step has a name, by which two runs are compared. A step that would need an order which the venue did not make is left out, and so is
a difference. What a venue may tell late (REST lags behind the stream) is asked for again until it is there, within bounds.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from holdfast.certify.plan import Plan
from holdfast.certify.side import Answer, Side

_EVENT_SECONDS, _FILL_SECONDS, _LAG_SECONDS = 10.0, 60.0, 10.0
_NOBODYS_ID = "00000000-0000-4000-8000-000000000000"
_LONG_ID = 129


class Step(NamedTuple):
    """One question and its answer, as they were.

    Attributes:
        name: Of the step.
        subject: What the answer is about: the first word of the paths in ``rules``.
        answered_at: When (UTC ns of our clock).
    """

    name: str
    subject: str
    method: str
    path: str
    body: Mapping[str, Any] | None
    answer: Answer
    answered_at: int


class Refusal(NamedTuple):
    """An order that every venue refuses: what is changed in one that it would take; None leaves a field out."""

    name: str
    change: Mapping[str, Any]
    crypto: bool | None = None  # of one kind alone


# fmt: off
REFUSALS: tuple[Refusal, ...] = (
    Refusal("no quantity",            {"qty": None}),
    Refusal("quantity of zero",       {"qty": "0"}),
    Refusal("negative quantity",      {"qty": "-1"}),
    Refusal("quantity and notional",  {"notional": "20"}),
    Refusal("no limit",               {"limit_price": None}),
    Refusal("negative limit",         {"limit_price": "-1"}),
    Refusal("no stop",                {"type": "stop", "limit_price": None}, crypto=False),
    Refusal("unheard-of side",        {"side": "hold"}),
    Refusal("unheard-of type",        {"type": "iceberg"}),
    Refusal("unheard-of time in force", {"time_in_force": "forever"}),
    Refusal("unknown symbol",         {"symbol": "NOSUCHSYMBOL"}),
    Refusal("limit below a cent",     {"limit_price": "12.3456"}, crypto=False),
    Refusal("fraction for longer than a day", {"qty": "0.5", "time_in_force": "gtc"}, crypto=False),
    Refusal("bracket without prices", {"order_class": "bracket"}, crypto=False),
    Refusal("coins for a day",        {"time_in_force": "day"}, crypto=True),
    Refusal("plain stop of coins",    {"type": "stop", "limit_price": None, "stop_price": "1"}, crypto=True),
    Refusal("id too long",            {"client_order_id": "x" * _LONG_ID}),
)
# fmt: on


class Run:
    """One run of the script at one venue.

    Args:
        side: Listening already.
        plan: What is traded.
        held: The position before.

    Attributes:
        steps: What was asked and answered.
        ids: The venue's order ids, by the names that the script has for them.
        clients: Our client order ids, by the same names: everything that was ever sent.
        prefix: What all of them begin with.
    """

    def __init__(self, side: Side, plan: Plan, held: Decimal = Decimal(0)) -> None:
        self.side, self.plan, self.held = side, plan, held
        self.steps: list[Step] = []
        self.ids: dict[str, str] = {}
        self.clients: dict[str, str] = {}
        self.prefix = f"holdfast-certify-{secrets.token_hex(8)}"

    # -- asking -----------------------------------------------------------------------------------

    async def ask(
        self,
        name: str,
        subject: str,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        until: Callable[[Answer], bool] | None = None,
    ) -> Answer:
        """One step; with ``until`` the question is asked again until its answer is as it must become."""
        answer = await self.side.ask(method, path, body=body, params=params)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _LAG_SECONDS
        while until is not None and not until(answer) and loop.time() < deadline:
            await self.side.pause()
            answer = await self.side.ask(method, path, body=body, params=params)
        shown = path + ("?" + "&".join(f"{key}={value}" for key, value in params.items()) if params else "")
        kind = subject if answer.status < 400 else "error"
        self.steps.append(Step(name, kind, method, shown, body, answer, self.side.clock.now_ns()))
        return answer

    async def send(self, name: str, change: Mapping[str, Any] | None = None, *, order: str | None = None) -> Answer:
        """Place an order; ``order`` is the name by which it is known afterwards."""
        client = f"{self.prefix}-{(order or name).replace(' ', '-')}"
        body: dict[str, Any] = {
            "symbol": self.plan.symbol,
            "qty": f"{self.plan.quantity:f}",
            "side": "buy",
            "type": "limit",
            "time_in_force": "gtc" if self.plan.is_crypto else "day",
            "limit_price": self.plan.below,
            "client_order_id": client,
            **(change or {}),
        }
        body = {key: value for key, value in body.items() if value is not None}
        self.clients[order or name] = str(body["client_order_id"])
        answer = await self.ask(name, "submitted", "POST", "/v2/orders", body=body)
        self._know(order or name, answer)
        return answer

    async def heard(self, order: str, *kinds: str, seconds: float = _EVENT_SECONDS) -> bool:
        """Whether the stream told one of these of an order."""
        return await self.side.until(lambda: any(event.get("event") in kinds for event in self.told(order)), seconds)

    def told(self, order: str) -> list[dict[str, Any]]:
        """What the stream told of an order so far."""
        identity = self.ids.get(order)
        return [event for event in self.side.events if (event.get("order") or {}).get("id") == identity]

    def _know(self, order: str, answer: Answer) -> None:
        if answer.status == 200 and isinstance(answer.body, dict) and isinstance(answer.body.get("id"), str):
            self.ids[order] = answer.body["id"]

    # -- the script -------------------------------------------------------------------------------

    async def looks(self) -> None:
        """What there is before anything is traded."""
        for name, path in (
            ("account", "/v2/account"),
            ("configuration", "/v2/account/configurations"),
            ("clock", "/v2/clock"),
            ("asset", f"/v2/assets/{self.plan.symbol.replace('/', '%2F')}"),
        ):
            await self.ask(name, name, "GET", path)
        await self.ask("asset that is none", "asset", "GET", "/v2/assets/NOSUCHSYMBOL")
        await self.ask("order that is none", "order", "GET", f"/v2/orders/{_NOBODYS_ID}")
        await self.ask("order by what is no id", "order", "GET", "/v2/orders/none")
        params = {"client_order_id": f"{self.prefix}-none"}
        await self.ask("client id that is none", "order", "GET", "/v2/orders:by_client_order_id", params=params)
        await self.ask("cancel of what is none", "cancel", "DELETE", f"/v2/orders/{_NOBODYS_ID}")
        if not self.held:
            await self.ask("position that is none", "position", "GET", self._position)
            await self.ask("close of what is none", "submitted", "DELETE", self._position)

    async def refusals(self) -> None:
        """Orders that no venue takes. One that is taken after all is cleaned up like any other."""
        for row in REFUSALS:
            if row.crypto in (None, self.plan.is_crypto):
                await self.send(row.name, row.change)

    async def resting(self) -> None:
        """An order that rests: placed, found, refused a second time, replaced, cancelled."""
        await self.send("placed", order="first")
        await self.heard("first", "new")
        if "first" not in self.ids:
            return
        path = f"/v2/orders/{self.ids['first']}"
        is_new = _has_status("new")
        await self.ask("found by its id", "order", "GET", path, until=is_new)
        params = {"client_order_id": self.clients["first"]}
        await self.ask("found by ours", "order", "GET", "/v2/orders:by_client_order_id", params=params, until=is_new)
        await self.send("placed again", {"client_order_id": self.clients["first"]}, order="again")
        same = {"limit_price": self.plan.below}
        await self.ask("replaced by the same", "submitted", "PATCH", path, body=same)
        client = self.clients["second"] = f"{self.prefix}-second"
        change = {"qty": f"{self.plan.quantity:f}", "limit_price": self.plan.farther_below, "client_order_id": client}
        if self.plan.is_crypto:
            del change["qty"]
        self._know("second", await self.ask("replaced", "submitted", "PATCH", path, body=change))
        if "second" not in self.ids:
            return
        await self.heard("first", "replaced")
        await self.heard("second", "new")
        await self.ask("the old one", "order", "GET", path, until=_has_status("replaced"))
        await self.ask("replaced once more", "submitted", "PATCH", path, body=change | {"limit_price": self.plan.below})
        new = f"/v2/orders/{self.ids['second']}"
        await self.ask("the new one", "order", "GET", new, until=is_new)
        await self.ask("cancelled", "cancel", "DELETE", new)
        await self.heard("second", "canceled")
        await self.ask("after its cancel", "order", "GET", new, until=_has_status("canceled"))
        await self.ask("cancelled again", "cancel", "DELETE", new)

    async def trade(self) -> None:
        """Buy at the market, hold, try what may not be done with it, and close."""
        await self.send("bought", {"type": "market", "limit_price": None}, order="entry")
        if "entry" not in self.ids or not await self.heard("entry", "fill", seconds=_FILL_SECONDS):
            return
        await self.ask("after its fill", "order", "GET", f"/v2/orders/{self.ids['entry']}", until=_has_status("filled"))
        there = await self.ask("position", "position", "GET", self._position, until=lambda answer: answer.status == 200)
        held = there.body.get("qty_available") if there.status == 200 and isinstance(there.body, dict) else None
        if isinstance(held, str) and not self.held:
            await self._sales(held)
        if self.held:  # the position is not ours alone
            await self.send("closed", {"side": "sell", "type": "market", "limit_price": None}, order="exit")
        else:
            self._know("exit", await self.ask("closed", "submitted", "DELETE", self._position))
        if "exit" in self.ids:
            await self.heard("exit", "fill", seconds=_FILL_SECONDS)
            await self.ask(
                "after the exit", "order", "GET", f"/v2/orders/{self.ids['exit']}", until=_has_status("filled")
            )
        if not self.held:
            await self.ask("position afterwards", "position", "GET", self._position, until=_is_missing)

    async def history(self) -> None:
        """What the account remembers of it."""
        for order in ("entry", "exit"):
            if order in self.ids:
                # The newest come first: where the filter is not known, ours are among them.
                params = {"order_id": self.ids[order], "page_size": "100", "direction": "desc"}
                await self.ask(f"fills of the {order}", "activity", "GET", "/v2/account/activities/FILL", params=params)
        await self.ask("activities of no type", "activity", "GET", "/v2/account/activities/NONE")

    async def _sales(self, held: str) -> None:
        sale = {"side": "sell", "qty": held, "limit_price": self.plan.above}
        await self.send("sale far above", sale, order="sale")
        await self.heard("sale", "new")
        await self.send("buy against our own sale", {"limit_price": self.plan.farther_above}, order="wash")
        await self.send("sale of what is held for another", sale, order="oversold")
        if "sale" in self.ids:
            await self.ask("sale cancelled", "cancel", "DELETE", f"/v2/orders/{self.ids['sale']}")
            await self.heard("sale", "canceled")

    @property
    def _position(self) -> str:
        return f"/v2/positions/{self.plan.symbol.replace('/', '')}"


async def run_script(run: Run, seconds: float) -> bool:
    """All of it. False where it had to be given up after so many real seconds; what was asked so far is kept."""
    try:
        async with asyncio.timeout(seconds):
            for part in (run.looks, run.refusals, run.resting, run.trade, run.history):
                await part()
    except TimeoutError:
        return False
    return True


def _has_status(status: str) -> Callable[[Answer], bool]:
    return lambda answer: isinstance(answer.body, dict) and answer.body.get("status") == status


def _is_missing(answer: Answer) -> bool:
    return answer.status == 404
