"""Afterwards nothing of ours is left: what was placed is cancelled, what was bought is sold, however the script ended.

An order whose outcome is unknown is looked up by the id that we gave it, and looked up again: a venue may find it late. Only
what the script itself sent is touched, and no more is sold than came on top of what was there before.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from holdfast.certify.guards import orders_of, position_of
from holdfast.certify.script import Run
from holdfast.certify.side import Answer
from holdfast.model.errors import VenueError

_CLOSED = frozenset({"filled", "canceled", "expired", "rejected", "replaced", "done_for_day"})
# How long an order may take to turn up whose request had no answer: the venue may have it, and not yet tell.
_LATE_SECONDS = 10.0
_SALES, _LAG_SECONDS = 6, 2.0


async def clean_up(run: Run, seconds: float = 30.0) -> list[str]:
    """Cancel, look up, sell.

    Returns:
        What is left, a sentence each; empty where nothing is.
    """
    left: list[str] = []
    if not run.clients:
        return left
    steps: tuple[Callable[[Run], Awaitable[str]], ...] = (_close_orders, _sell)
    for step in steps:
        try:
            async with asyncio.timeout(seconds):
                said = await step(run)
        except (TimeoutError, VenueError) as error:
            said = f"{str(error) or f'it took longer than {seconds:.0f} s'}: look at {run.plan.symbol} yourself"
        if said:
            left.append(said)
    return left


async def _close_orders(run: Run) -> str:
    """Every order that was ever sent is looked at until it is closed, or certainly was never made."""
    loop = asyncio.get_running_loop()
    late = loop.time() + _LATE_SECONDS
    answered = {(step.body or {}).get("client_order_id") for step in run.steps if step.answer.is_known}
    # Ours by our ids; the order that closed the position has one of the venue's alone.
    waiting = {*run.clients.values(), *run.ids.values()}
    while waiting:
        for name in sorted(waiting):
            answer = await _look_up(run, name)
            if answer.status in (404, 422) and (name in answered or loop.time() > late):
                waiting.discard(name)
            elif answer.status == 200 and isinstance(answer.body, dict):
                if answer.body.get("status") in _CLOSED:
                    waiting.discard(name)
                else:
                    await run.side.ask("DELETE", f"/v2/orders/{answer.body.get('id')}")
        if waiting:
            await run.side.pause()
    ours = [row for row in await orders_of(run.side, run.plan.symbol, "open") if _is_ours(run, row)]
    return f"{len(ours)} orders of ours are open in {run.plan.symbol}" if ours else ""


async def _sell(run: Run) -> str:
    """What our orders have bought and not sold again is sold, and no more than the position has grown.

    Positions lag behind orders: by one of the two alone, what is sold already could be sold once more, and be short.
    """
    symbol = run.plan.symbol
    for attempt in range(_SALES):
        bought, grown = await _bought(run), await position_of(run.side, symbol) - run.held
        surplus = min(bought, grown)
        if bought <= 0 or (surplus <= 0 and attempt):
            return f"the position in {symbol} is {-grown} lower than before" if grown < 0 and not run.held else ""
        if surplus > 0:
            await _sell_once(run, surplus, attempt)
        else:
            await asyncio.sleep(_LAG_SECONDS)
    return f"{surplus} {symbol} of ours could not be sold"


async def _sell_once(run: Run, quantity: Decimal, attempt: int) -> None:
    client = run.clients[f"out {attempt}"] = f"{run.prefix}-out-{attempt}"
    body = {
        "symbol": run.plan.symbol,
        "qty": f"{quantity:f}",
        "side": "sell",
        "time_in_force": "gtc" if run.plan.is_crypto else "day",
        "client_order_id": client,
        # A market order is refused beside somebody's open buy, whatever its price; a limit only where they could meet.
        **({"type": "limit", "limit_price": run.plan.at_any_price} if attempt % 2 else {"type": "market"}),
    }
    answer = await run.side.ask("POST", "/v2/orders", body=body)
    if answer.is_known and answer.status >= 400:
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LATE_SECONDS):
            await _until_closed(run, client)


async def _bought(run: Run) -> Decimal:
    """What our orders have bought less what they have sold, by the orders themselves."""
    rows = await orders_of(run.side, run.plan.symbol, "all")
    ours = [row for row in rows if _is_ours(run, row)]
    if not run.held and ours:
        # Nobody else was in this symbol: the sale whose answer was lost is ours, too.
        first = min(str(row.get("created_at")) for row in ours)
        ours += [
            row for row in rows if not _is_ours(run, row) and row["side"] == "sell" and str(row["created_at"]) > first
        ]
    return sum((_filled(row) if row["side"] == "buy" else -_filled(row) for row in ours), Decimal(0))


def _filled(row: dict[str, Any]) -> Decimal:
    return Decimal(str(row.get("filled_qty") or 0))


async def _until_closed(run: Run, client: str) -> None:
    while True:
        answer = await _look_up(run, client)
        if answer.status == 200 and isinstance(answer.body, dict) and answer.body.get("status") in _CLOSED:
            return
        await run.side.pause()


async def _look_up(run: Run, name: str) -> Answer:
    """By our id, or by the venue's."""
    if name in run.ids.values():
        return await run.side.ask("GET", f"/v2/orders/{name}")
    return await run.side.ask("GET", "/v2/orders:by_client_order_id", params={"client_order_id": name})


def _is_ours(run: Run, row: dict[str, Any]) -> bool:
    return row.get("client_order_id") in run.clients.values() or row.get("id") in run.ids.values()
