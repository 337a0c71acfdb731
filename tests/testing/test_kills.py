"""The harness that kills processes: its judgement, one complaint at a time, and its command line."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from holdfast.journal import MemoryJournal, Record
from holdfast.model import OrderIntent, OrderSide, OrderType, TimeInForce
from holdfast.model.commands import SubmitOrder
from holdfast.testing.kills import complaints, main
from holdfast.testing.processes import ProcessFailedError, VenueBooks, VenueProcess


def _intent(number: int, quantity: str) -> OrderIntent:
    return OrderIntent(
        client_order_id=f"j-{number}",
        symbol="BTC/USD",
        side=OrderSide.BUY,
        quantity=Decimal(quantity),
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.GTC,
        created_at=0,
    )


def test_a_process_that_is_waited_for_in_vain_says_where_it_was(tmp_path: Path) -> None:
    """What hangs once in a thousand kills is not seen again: its last words are all there is."""
    venue = VenueProcess(tmp_path, "venue", ["--synthetic", "SPY"])

    with pytest.raises(
        ProcessFailedError, match=r"(?s)venue is waited for in vain.*most recent call first.*run_forever"
    ):
        venue.until(lambda: None, 0.0)

    assert venue.has_ended


class Case:
    """Two sides that agree: one order filled in two parts, one refused, one that never left. Tests make them disagree."""

    def __init__(self) -> None:
        self.intents = [_intent(1, "0.5"), _intent(2, "0.7"), _intent(3, "0.9"), _intent(4, "1E-9")]
        self.summary: dict[str, Any] = {
            "drift": [],
            "orphans": [],
            "shadows": [],
            "compared": True,
            "trading_state": "active",
            "positions": {"BTC/USD": "0.49875"},
            "cash": "80000",
            "orders": [
                {"id": "j-1", "status": "filled", "filled": "0.5", "evidence": "stream"},
                {"id": "j-2", "status": "rejected", "filled": "0", "evidence": "insufficient buying power"},
                {"id": "j-3", "status": "never_sent", "filled": "0", "evidence": "the venue has no order with this id"},
                {"id": "j-4", "status": "canceled", "filled": "0", "evidence": "stream"},
            ],
            "fills": [{"id": "e-1"}, {"id": "e-2"}],
        }
        self.order = {
            "client_order_id": "j-1",
            "side": "buy",
            "qty": "0.5",
            "status": "filled",
            "filled_qty": "0.500000000",
        }
        self.venue = VenueBooks(
            orders=[
                self.order,
                {
                    "client_order_id": "j-4",
                    "side": "buy",
                    "qty": "0.000000001",
                    "status": "canceled",
                    "filled_qty": "0",
                },
            ],
            fills=[{"id": "20240102::e-1"}, {"id": "20240102::e-2"}],
            positions={"BTCUSD": "0.498750000"},
            cash="80000.00",
        )

    def complaints(self) -> list[str]:
        """What the harness says of it."""
        journal = MemoryJournal()
        journal.append_commands(tuple(SubmitOrder(intent=intent, deadline=5) for intent in self.intents))
        records: list[Record] = list(journal.records())
        return complaints(self.summary, self.venue, records)


def test_two_sides_that_agree_are_not_complained_of() -> None:
    """However each writes its numbers."""
    assert Case().complaints() == []


BREAKS: list[tuple[str, Callable[[Case], object]]] = [
    ("comparison found drift", lambda c: c.summary.update(drift=[{"symbol": "BTC/USD"}])),
    ("comparison found orphans", lambda c: c.summary.update(orphans=["B-1"])),
    ("comparison found shadows", lambda c: c.summary.update(shadows=["j-1"])),
    ("had no answer", lambda c: c.summary.update(compared=False)),
    ("trading is halted", lambda c: c.summary.update(trading_state="halted")),
    ("positions differ", lambda c: c.summary.update(positions={})),
    ("cash differs", lambda c: c.summary.update(cash="80000.01")),
    ("j-1 is at the venue 2 times", lambda c: c.venue.orders.append(c.order)),
    ("j-1 at the venue is no journaled intent", lambda c: c.intents.pop(0)),
    ("j-1 at the venue is not what was meant", lambda c: c.order.update(qty="0.6")),
    ("j-1 at the venue is not what was meant", lambda c: c.order.update(side="sell")),
    ("j-1 is canceled with", lambda c: c.order.update(status="canceled")),
    ("j-1 is filled with 0.4", lambda c: c.order.update(filled_qty="0.4")),
    ("order j-1 of the journal or the venue is unknown", lambda c: c.summary["orders"].pop(0)),
    ("order j-3 of the journal or the venue is unknown", lambda c: c.summary["orders"].pop(2)),
    ("intent j-3 is not at the venue and not closed", lambda c: c.summary["orders"][2].update(status="unknown")),
    ("intent j-3 is not at the venue and not closed", lambda c: c.summary["orders"][2].update(evidence="")),
    ("intent j-1 is not at the venue and not closed", lambda c: c.venue.orders.clear()),
    ("execution e-1 was counted 2 times", lambda c: c.summary["fills"].append({"id": "e-1"})),
    ("execution e-2 of the venue was lost", lambda c: c.summary["fills"].pop(1)),
    ("execution e-2 was counted, and the venue has none", lambda c: c.venue.fills.pop(1)),
]


@pytest.mark.parametrize(("expected", "break_it"), BREAKS, ids=[expected for expected, _ in BREAKS])
def test_whatever_does_not_add_up_is_complained_of(expected: str, break_it: Callable[[Case], object]) -> None:
    """A checker that cannot fail proves nothing."""
    case = Case()
    break_it(case)
    assert any(expected in complaint for complaint in case.complaints()), case.complaints()


@pytest.mark.parametrize(
    "arguments", [["--kills", "0"], ["--journal", "j"], ["--journal", "j", "--who", "database"], ["--who", "nobody"]]
)
def test_nonsense_on_the_command_line_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is started."""
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert refused.value.code == 2
    assert "seed" not in capsys.readouterr().out
