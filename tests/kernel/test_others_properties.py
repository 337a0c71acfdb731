"""P7 and P4 beside people who trade on the account, as laws: whatever they do, and whenever the books are compared."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from holdfast.kernel import KernelSettings
from holdfast.model import Execution, Foreign, OrderIntent, OrderSide, Source
from holdfast.model.commands import SubmitOrder
from holdfast.model.events import OrderFilled
from tests.kernel.helpers import ACCOUNT, SPY, Bench, alerts, buy, leave, of, sell

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell", "exit", "part", "by hand", "fill", "compare"]),
        st.integers(-12, 12).filter(bool),
    ),
    max_size=25,
)


class Account:
    """The venue's one net position and its cash, moved by us and by others; every trade is at 100."""

    def __init__(self, policy: Foreign, held: int) -> None:
        self.net = Decimal(held)
        self.cash = ACCOUNT.cash
        self.out: list[OrderIntent] = []
        self.by_hand: list[Execution] = []
        self.bench = Bench(ready=False, settings=KernelSettings(foreign=policy))
        self.bench.begin()
        self.bench.connected()
        self.bench.load()
        self.compare()
        self.bench.bar(after=0)

    def compare(self) -> list[str]:
        """The venue's whole truth; what people are told of it."""
        self.bench.wait(6)
        positions = {SPY: self.net} if self.net else {}
        account = msgspec.structs.replace(ACCOUNT, cash=self.cash, equity=self.cash + 100 * self.net)
        return alerts(self.bench.reported(positions=positions, account=account, executions=self.by_hand))

    def step(self, name: str, number: int) -> None:
        """One thing happens."""
        size = abs(number)
        if name == "by hand":
            self.trade_by_hand(number)
        elif name == "fill":
            self.fill(number)
        elif name == "compare":
            self.compare()
        else:
            action = {"buy": buy(size), "sell": sell(size), "exit": leave(), "part": leave(size)}[name]
            self.out += [submit.intent for submit in of(SubmitOrder, self.bench.act(action))]

    def trade_by_hand(self, number: int) -> None:
        """Somebody trades, and the stream tells of it."""
        traded = Execution(
            execution_id=f"hand-{len(self.by_hand)}",
            broker_id=f"B-hand-{len(self.by_hand)}",
            client_order_id=f"by-hand-{len(self.by_hand)}",
            symbol=SPY,
            side=OrderSide.BUY if number > 0 else OrderSide.SELL,
            quantity=Decimal(abs(number)),
            price=Decimal(100),
            at=self.bench.now,
            cum_qty=Decimal(abs(number)),
        )
        self.by_hand.append(traded)
        self.net += number
        self.cash -= 100 * number
        self.bench.show(OrderFilled(ts=self.bench.now, execution=traded, source=Source.STREAM))

    def fill(self, number: int) -> None:
        """One of our orders fills in whole, and the stream tells of it."""
        if not self.out:
            return
        intent = self.out.pop(number % len(self.out))
        before = self.net
        change = intent.side.sign * intent.quantity
        self.net += change
        self.cash -= 100 * change
        if intent.reduce_only and intent.created_at > self.last_by_hand:
            assert before * self.net >= 0, f"an exit of {intent.quantity} turned {before} into {self.net}"
        self.bench.accepted(intent)
        self.bench.filled(intent, intent.quantity)

    @property
    def last_by_hand(self) -> int:
        """Nobody can foresee what is traded by hand after an exit has left."""
        return max((execution.at for execution in self.by_hand), default=0)


@given(policy=st.sampled_from(Foreign), held=st.integers(-15, 15), steps=STEPS)
def test_p7_no_exit_turns_the_venues_position_around(policy: Foreign, held: int, steps: list[tuple[str, int]]) -> None:
    """Ours, theirs, both ways: reducing orders take no more than both sides have."""
    account = Account(policy, held)
    for step in steps:
        account.step(*step)


@given(policy=st.sampled_from([Foreign.IGNORE, Foreign.ADOPT]), held=st.integers(-15, 15), steps=STEPS)
def test_p4_what_others_do_is_explained_to_the_last_share(
    policy: Foreign, held: int, steps: list[tuple[str, int]]
) -> None:
    """When nothing is in flight: no drift, ours and theirs add up to the venue's, and so does the cash."""
    account = Account(policy, held)
    for step in steps:
        account.step(*step)
    while account.out:
        account.fill(1)
    kernel = account.bench.kernel
    told = account.compare() + account.compare()

    assert [text for text in told if "differs" in text] == []
    assert kernel.reconciliation.drift == ()
    theirs = kernel.others.state.held.get(SPY, Decimal(0))
    assert kernel.portfolio.positions.quantity(SPY) + theirs == account.net
    assert kernel.portfolio.positions.cash + kernel.others.state.cash == account.cash
