"""One long history without chance, printed: every command as JSON, then the books and the hash of the state.

    python -m tests.kernel.fixed_history

Run twice under different ``PYTHONHASHSEED``s it must print the same bytes.
"""

from __future__ import annotations

import msgspec

from holdfast.model import OrderSide, OrderStatus
from holdfast.model.commands import Command
from tests.kernel.helpers import COIN, Bench, leave, report_of
from tests.kernel.world import ACTIONS, VENUE, World

_STEPS = 400


def history() -> list[tuple[str, int]]:
    """Actions and faults in an order that looks random and is arithmetic."""
    names = [*ACTIONS, *VENUE]
    number, steps = 12_345, []
    for _ in range(_STEPS):
        number = (number * 1_103_515_245 + 12_345) % 2**31
        steps.append((names[(number >> 16) % len(names)], (number >> 8) % 100))
    return steps


def many_symbols() -> Bench:
    """Drift, strangers and exits in several symbols at once: what a set would put into any order."""
    bench = Bench("SPY", "QQQ", COIN)
    for symbol in bench.symbols:
        bench.hold(10, symbol=symbol)
    resting = bench.order(leave(limit=120.0))
    bench.order(lambda s: s.buy("SPY", 5, limit=99.0, take_profit=110.0, stop_loss=95.0, stop_loss_limit=94.0))
    strangers = [report_of(resting, OrderStatus.NEW, broker_id=f"x{n}", client_order_id=f"x{n}") for n in range(5)]
    for _ in range(2):
        positions = dict.fromkeys(("IWM", "DIA", "SPY", "QQQ", "TLT", "GLD"), 3)
        bench.reported(orders=strangers, positions=dict(positions))
        bench.wait(6)
    bench.begin(epoch=2)
    assert resting.side is OrderSide.SELL
    return bench


def main() -> None:
    """Print it all."""
    world = World()
    for name, choice in history():
        world.step(name, choice)
    encoder = msgspec.json.Encoder()
    for bench in (world.bench, many_symbols()):
        for command in bench.commands:
            print(_line(encoder, command))  # noqa: T201 - its output is its purpose
        portfolio = bench.kernel.portfolio
        print(portfolio.tracker.to_json().decode())  # noqa: T201 - as above
        print(portfolio.positions.to_json().decode())  # noqa: T201 - as above
        print(bench.kernel.state_hash())  # noqa: T201 - as above


def _line(encoder: msgspec.json.Encoder, command: Command) -> str:
    return encoder.encode(command).decode()


if __name__ == "__main__":
    main()
