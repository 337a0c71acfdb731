"""A client of the built-in venue's admin port: for tests, for scripts, and for whoever wants the venue to misbehave.

    admin = VenueAdmin(ready["admin"])
    rule = admin.fault("gateway_timeout", method="POST", path="/v2/orders")
    ...
    assert admin.struck(rule) == 1

What the venue refuses is raised with the sentence that it gave.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Self

import httpx

from holdfast.model.errors import VenueError
from holdfast.net.tls import trusted_by


class VenueAdmin:
    """The admin port of one venue.

    Args:
        url: Its address, as the venue's ready line and ``GET /`` name it.
        timeout: How long an answer may take (real seconds).
    """

    def __init__(self, url: str, *, timeout: float = 30.0) -> None:
        self._client = httpx.Client(base_url=url, timeout=timeout, trust_env=False, verify=trusted_by(url))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End its connections."""
        self._client.close()

    # --- Faults ------------------------------------------------------------------------------------------------

    def fault(self, effect: str, **members: Any) -> str:
        """Let a fault stand; gives its id. The members are those of a rule, such as ``target`` or ``count``."""
        return str(self._ask("POST", "/faults", {"effect": effect, **members})["id"])

    def faults(self) -> list[dict[str, Any]]:
        """The faults that stand."""
        found: list[dict[str, Any]] = self._ask("GET", "/faults")["faults"]
        return found

    def struck(self, rule_id: str) -> int:
        """How often a fault has struck."""
        return int(self._ask("GET", f"/faults/{rule_id}")["struck"])

    def remove_fault(self, rule_id: str) -> int:
        """Take a fault away; gives how often it struck."""
        return int(self._ask("DELETE", f"/faults/{rule_id}")["struck"])

    def add_faults(self, rules: Iterable[Mapping[str, Any]]) -> list[str]:
        """Let several faults stand, all or none; gives their ids."""
        return [str(row["id"]) for row in self._ask("POST", "/faults", list(rules))]

    def clear_faults(self) -> None:
        """Take all faults away."""
        self._ask("DELETE", "/faults")

    # --- Time --------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything at a glance."""
        return dict(self._ask("GET", "/state"))

    def set_time(self, now: str) -> dict[str, Any]:
        """Move time forward to a moment (RFC 3339); gives the state."""
        return dict(self._ask("POST", "/time", {"now": now}))

    def set_speed(self, speed: float) -> dict[str, Any]:
        """Let so many of the venue's seconds pass in a real one; gives the state."""
        return dict(self._ask("POST", "/speed", {"speed": speed}))

    def pause(self) -> dict[str, Any]:
        """Let the time stand still; gives the state."""
        return dict(self._ask("POST", "/pause"))

    def run(self) -> dict[str, Any]:
        """Let the time flow; gives the state."""
        return dict(self._ask("POST", "/run"))

    def step(self, *, steps: int | None = None, bars: int | None = None) -> dict[str, Any]:
        """Do steps of the market, or as many as end so many bars, while the time stands still; gives the state."""
        counts = {"steps": steps, "bars": bars}
        return dict(self._ask("POST", "/step", {name: count for name, count in counts.items() if count is not None}))

    # --- The market --------------------------------------------------------------------------------------------

    def halt(self, symbol: str) -> dict[str, Any]:
        """Let a symbol trade nothing; gives the state."""
        return dict(self._ask("POST", f"/symbols/{symbol}/halt"))

    def resume(self, symbol: str) -> dict[str, Any]:
        """Let a halted symbol trade again; gives the state."""
        return dict(self._ask("POST", f"/symbols/{symbol}/resume"))

    def move_price(self, symbol: str, price: float | Decimal) -> dict[str, Any]:
        """Let the next bar of a symbol open at a price, and all later prices move with it; gives the state."""
        return dict(self._ask("POST", f"/symbols/{symbol}/price", {"price": str(price)}))

    def split(self, symbol: str, *, old: int, new: int) -> dict[str, Any]:
        """Make ``new`` shares of ``old`` ones; gives the state."""
        return dict(self._ask("POST", f"/symbols/{symbol}/split", {"from": old, "to": new}))

    def restrict_borrowing(self, symbol: str, *, is_hard: bool = True) -> dict[str, Any]:
        """Make a stock hard to borrow, or easy again; gives the state."""
        status = "hard_to_borrow" if is_hard else "easy_to_borrow"
        return dict(self._ask("POST", f"/symbols/{symbol}/borrow", {"status": status}))

    def dividend(self, symbol: str, rate: float | str | Decimal) -> dict[str, Any]:
        """Pay a cash dividend (USD a share) to whoever holds a stock; gives the state."""
        return dict(self._ask("POST", f"/symbols/{symbol}/dividend", {"rate": str(rate)}))

    # Each of these gives the trade and the bar as they are now, and whether the bar has changed.

    def late_trade(self, symbol: str, price: float, size: float, *, at: str | None = None) -> dict[str, Any]:
        """Report a trade in a bar that has ended: at a moment (RFC 3339), or at the end of the last bar."""
        body = {"price": price, "size": size} | ({} if at is None else {"at": at})
        return dict(self._ask("POST", f"/symbols/{symbol}/trades", body))

    def correct_trade(self, symbol: str, trade_id: int, *, price: float, size: float) -> dict[str, Any]:
        """Correct a trade of a bar that has ended. It has another id from then on."""
        return dict(self._ask("POST", f"/symbols/{symbol}/trades/{trade_id}/correct", {"price": price, "size": size}))

    def cancel_trade(self, symbol: str, trade_id: int, *, action: str = "C") -> dict[str, Any]:
        """Cancel a trade of a bar that has ended; the action ``E`` says that it was an error."""
        return dict(self._ask("POST", f"/symbols/{symbol}/trades/{trade_id}/cancel", {"action": action}))

    # --- Accounts ----------------------------------------------------------------------------------------------

    def reset(self, key: str, *, cash: Decimal | None = None) -> dict[str, Any]:
        """Give a key pair a new account in place of its present one; gives the state."""
        return dict(self._ask("POST", f"/accounts/{key}/reset", {} if cash is None else {"cash": str(cash)}))

    def post_activity(self, key: str, activity_type: str, **members: Any) -> dict[str, Any]:
        """Book an activity that is no trade on the account of a key; gives its row."""
        return dict(self._ask("POST", f"/accounts/{key}/activities", {"activity_type": activity_type, **members}))

    def bust(self, key: str, execution_id: str) -> dict[str, Any]:
        """Take an execution back; gives its FILL row."""
        return dict(self._ask("POST", f"/accounts/{key}/busts", {"execution_id": execution_id}))

    # --- Inside ------------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = (
            self._client.request(method, path, json=body) if body is not None else self._client.request(method, path)
        )
        if answer.is_error:
            try:
                said = str(answer.json()["message"])
            except (ValueError, KeyError, TypeError):
                said = answer.text
            message = f"the venue's admin port refused {method} {path} ({answer.status_code}): {said}"
            raise VenueError(message)
        return answer.json() if answer.content else None
