"""What a person sees in the terminal, read back as text."""

from __future__ import annotations

import asyncio
import io
import os
import re
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from holdfast.web.live import alert_line, render, summary
from holdfast.web.painter import run
from holdfast.web.snapshot import Snapshot
from tests.web.example import SNAPSHOT, Source

SIZES = [(60, 20), (80, 24), (100, 30), (104, 28), (120, 40), (160, 50), (200, 60)]


def drawn(snapshot: Any, *, width: int = 120, height: int = 45) -> str:
    """The view as plain text."""
    console = Console(file=io.StringIO(), record=True, width=width, height=height)
    console.print(render(snapshot))
    return console.export_text()


def test_the_header_tells_whose_money_and_how_it_stands() -> None:
    """Mode, venue, time, state, money and counts are in sight."""
    text = drawn(SNAPSHOT)

    assert "PAPER" in text
    assert "built-in venue · vwap_mean_reversion" in text
    assert "2022-01-03 14:31:00 UTC  ● open" in text
    assert "ACTIVE   equity 100,012.20   cash 98,000.00   day +12.20" in text
    assert "bars 1,204   signals 12   orders 8   fills 9   trades 4   unknown 1   blocked 3" in text
    assert "43%" in text


def test_what_was_blocked_is_told_by_guard_most_first() -> None:
    """A guard that blocked nothing is not named."""
    assert "blocked 3 (StoplossGuard 2, price_collar 1)" in drawn(SNAPSHOT)


def test_positions_show_what_they_are_worth() -> None:
    """Quantity without trailing zeros, prices to the cent, P&L with its sign."""
    assert re.search(r"BTC/USD +0\.043 +46,211\.50 +46,300\.10 +\+3\.81", drawn(SNAPSHOT))


def test_the_newest_order_is_on_top() -> None:
    """A filled order shows its average price, an unfilled limit order its limit."""
    text = drawn(SNAPSHOT)
    newest = re.search(r"14:30:00 +BTC/USD +buy +0\.043 +0\.043 +46,211\.50 +filled", text)
    older = re.search(r"14:29:05 +BTC/USD +sell +0\.043 +0 +46,400\.00 +unknown +exit at VWAP", text)

    assert newest is not None
    assert older is not None
    assert newest.start() < older.start()


def test_orders_that_wait_for_a_stop_show_it_and_exits_whose_they_are() -> None:
    """A stop price, a trail in price or in percent; and the number of the order that brought the exit."""
    order = {"symbol": "SPY", "side": "sell", "quantity": 4, "filled_quantity": 0, "status": "held"}
    leg = {**order, "stop_price": "95", "limit_price": "94.5", "reason": "stop_loss", "parent": "a-b-7"}
    trails = [{**order, "trail_price": "0.5"}, {**order, "trail_percent": "1.5"}]

    text = drawn({"orders_recent": [leg, *trails]}, width=160)

    assert re.search(r"stop 95\.00 +held +stop_loss of order 7", text)
    assert re.search(r"trail 0\.5 +held", text)
    assert re.search(r"trail 1\.5% +held", text)


def test_a_guard_that_holds_trading_back_comes_first_and_says_why_and_until_when() -> None:
    """The others follow, with their modes."""
    text = drawn(SNAPSHOT, width=160)

    assert "blocks until 15:01:00: 3 stop-losses" in text
    assert text.index("StoplossGuard  blocks") < text.index("CooldownPeriod off") < text.index("clear (observe)")


def test_an_observing_guard_only_would_block() -> None:
    """Roll-out beside live trading must not look like an outage."""
    text = drawn({"protections": {"MaxDrawdown": {**SNAPSHOT["protections"]["MaxDrawdown"]}}})

    assert "would block until 14:31:00: -11 %" in text


def test_a_hold_ends_at_the_moment_that_it_names() -> None:
    """``close <= now < until``: at the moment itself trading goes on."""
    assert "clear (observe)" in drawn(SNAPSHOT)
    assert "would block" not in drawn(SNAPSHOT)


def test_streams_and_alerts_are_in_sight() -> None:
    """A silent stream is the first thing to look for."""
    text = drawn(SNAPSHOT)

    assert "● orders, lost 2x, last 14:30:59   ○ market data connecting   alpaca_orders 2/200, 1 waiting" in text
    assert "drift in BTC/USD  ours 0.043, venue 0.042" in text


def test_an_alert_that_sums_up_others_says_how_many() -> None:
    """In the view and in a log; else the same words would stand there twice."""
    alert = {**SNAPSHOT["alerts_recent"][0], "repeats": 30}

    assert "drift in BTC/USD, 30 more times  ours 0.043" in drawn({**SNAPSHOT, "alerts_recent": [alert]})
    assert alert_line(alert) == "14:30:59 warning: drift in BTC/USD, 30 more times (ours 0.043, venue 0.042)"
    assert "1 more time (" in alert_line({**alert, "repeats": 1})


def test_an_empty_snapshot_is_a_view_of_dashes() -> None:
    """A bot that has only just begun has nothing to show, and that is no error."""
    text = drawn({})

    assert "flat" in text
    assert "none yet" in text


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_it_fits_the_terminal(width: int, height: int) -> None:
    """However much there is to show, no line is too long and no frame is too high."""
    crowded = dict(SNAPSHOT)
    for key in ("positions", "orders_recent", "alerts_recent"):
        crowded[key] = list(SNAPSHOT[key]) * 30
    crowded["protections"] = {f"guard {number}": {"mode": "enforce"} for number in range(30)}
    lines = drawn(crowded, width=width, height=height).splitlines()

    assert max(map(len, lines)) <= width
    assert len(lines) <= max(height, 23)


def test_words_from_elsewhere_cannot_steer_the_terminal() -> None:
    """Escape sequences and markup in a venue's or a strategy's words are shown as words."""
    hostile = "\x1b[2J\x1b]0;owned\x07[bold red]x[/]\r\n"
    snapshot: dict[str, Any] = {
        "venue": hostile,
        "strategy": hostile,
        "mode": hostile,
        "trading_state": hostile,
        "trading_state_reason": hostile,
        "positions": [{"symbol": hostile}],
        "orders_recent": [{"symbol": hostile, "status": hostile, "reason": hostile, "side": hostile}],
        "protections": {hostile: {"last_until": "2999-01-01T00:00:00Z", "last_reason": hostile, "mode": hostile}},
        "counters": {"blocked": {hostile: 1}},
        "alerts_recent": [{"title": hostile, "details": hostile, "level": hostile, "repeats": hostile}],
    }
    text = drawn(snapshot) + summary(snapshot) + alert_line(snapshot["alerts_recent"][0])

    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    assert "[bold red]x[/]" in text


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=3))
def test_odd_amounts_and_times_are_shown_as_dashes(odd: object) -> None:
    """A view never fails for what it is shown: numbers that are none and times that are none become dashes."""
    snapshot: dict[str, Any] = {
        "equity": odd,
        "clock": {"current_time": odd},
        "positions": [{"symbol": odd, "quantity": odd, "average_price": odd, "unrealised_pnl": odd}],
        "orders_recent": [{"at": odd, "quantity": odd, "limit_price": odd, "status": odd}],
        "alerts_recent": [{"at": odd, "title": odd, "details": odd, "repeats": odd}],
        "protections": {"x": {"last_until": odd, "mode": odd}},
        "user_stream": {"last_message_at": odd, "state": odd},
    }

    assert "Holdfast" in drawn(snapshot)
    assert "equity" in summary(snapshot)


@pytest.mark.parametrize("odd", ["1E+999999999", "-1E-999999999", "NaN", "Infinity", "many", "", "0E-999999"])
def test_no_amount_is_too_much(odd: str) -> None:
    """What nobody can hold is not written out."""
    assert len(drawn({"equity": odd, "positions": [{"symbol": "X", "quantity": odd, "average_price": odd}]})) < 4_000


def test_the_summary_is_one_line() -> None:
    """The same, for a log."""
    assert summary(SNAPSHOT) == (
        "2022-01-03 14:31:00 | paper active | equity 100,012.20 | day +12.20 | positions 1"
        " | bars 1,204 | signals 12 | orders 8 | fills 9 | trades 4 | blocked 3"
    )


##### The painter


class Counted(Source):
    """Says when it has been asked often enough."""

    def __init__(self, snapshot: Snapshot | None = None, *, enough: int) -> None:
        super().__init__(snapshot)
        self.enough = asyncio.Event()
        self._often = enough

    def snapshot(self) -> dict[str, Any]:
        """One bar more each time."""
        shown = super().snapshot()
        shown["counters"] = {"bars": self.asked}
        if self.asked >= self._often:
            self.enough.set()
        return shown


async def run_until_enough(source: Counted, console: Console) -> None:
    """Show the source until it was asked often enough, then cancel as the runner does."""
    task = asyncio.create_task(run(source, 0.001, console, plain_seconds=0.001))
    async with asyncio.timeout(10):
        await source.enough.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_terminal_sees_frames_and_keeps_the_last() -> None:
    """The last frame is of the end, not of the tick before."""
    output = io.StringIO()
    source = Counted(enough=3)
    await run_until_enough(
        source, Console(file=output, force_terminal=True, width=120, height=45, _environ={"TERM": "xterm"})
    )

    assert "╭─" in output.getvalue()
    assert f"{source.asked:,}" in output.getvalue().rpartition("bars")[2]


@pytest.mark.parametrize("height", [12, 24, 45])
async def test_what_the_terminal_echoes_does_not_move_the_frames(height: int) -> None:
    """The cursor rests behind a short line, which fits below the view: ``^C`` begins no line of its own."""
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=60, height=height, _environ={"TERM": "xterm"})
    await run_until_enough(Counted(enough=3), console)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.getvalue())

    lines = shown.rstrip("\n").split("\n")
    assert lines[-1].strip() == "Ctrl-C stops"
    assert len(lines[-1]) < 60 - len("^C^C")
    assert lines[-2].startswith("╰")


async def test_a_log_gets_lines_only_and_each_alert_once() -> None:
    """No control sequence in a file."""
    output = io.StringIO()
    source = Counted(enough=5)
    await run_until_enough(source, Console(file=output))
    lines = output.getvalue().splitlines()

    assert "\x1b" not in output.getvalue()
    assert lines.count("14:30:59 warning: drift in BTC/USD (ours 0.043, venue 0.042)") == 1
    assert f"bars {source.asked} " in lines[-1]


async def test_a_blocked_terminal_holds_nobody_up() -> None:
    """While a person holds the terminal the source is asked on as ever, and the end is not delayed."""
    reading, writing = os.pipe()
    release = threading.Event()
    with os.fdopen(writing, "w") as file, os.fdopen(reading, "rb") as held:
        source = Counted(enough=200)  # far more frames than a pipe takes that nobody reads
        console = Console(file=file, force_terminal=True, width=120, height=45, _environ={"TERM": "xterm"})
        async with asyncio.timeout(10):
            await run_until_enough(source, console)
        drain = threading.Thread(target=lambda: (release.wait(10), held.read()))
        drain.start()
        release.set()
        for thread in threading.enumerate():
            if thread.name == "holdfast-live-view":
                thread.join(10)
        file.close()
        drain.join(10)


async def test_a_broken_view_is_told_and_trading_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal that went away ends the view, not the bot."""
    gone = io.StringIO()
    gone.close()
    source = Counted(enough=20)
    await run_until_enough(source, Console(file=gone, width=80))

    assert source.asked >= 20
    assert "live view ended with an error" in capsys.readouterr().out
