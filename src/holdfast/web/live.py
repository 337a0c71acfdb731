"""The live view: a snapshot, drawn for a terminal.

`render` is a pure function, so that what a person sees can be tested line by line; it leaves out what
a snapshot does not have and fits itself to the terminal's size. Where the output is no terminal,
`summary` says the same in one line. `holdfast.web.painter` repeats them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_DASH = "-"
_MAGNITUDE_MAX = 24  # powers of ten
_WIDE_COLUMNS = 104  # from here on two panels fit side by side

_STATE_STYLES = {"active": "bold green", "reducing": "bold yellow", "halted": "bold red"}
_MODE_STYLES = {"live": "bold white on red", "paper": "bold white on blue"}
_LEVEL_STYLES = {"critical": "bold red", "error": "red", "warning": "yellow", "info": "cyan"}
_SIDE_STYLES = {"buy": "green", "sell": "red"}
_STATUS_STYLES = {
    "filled": "green",
    "partially_filled": "green",
    "unknown": "bold yellow",
    "submitted": "yellow",
    "rejected": "red",
    "never_sent": "red",
    "canceled": "dim",
    "expired": "dim",
}


class _Rows(NamedTuple):
    """How many rows each list may take."""

    lines_wide: int
    lines_narrow: int
    orders: int
    positions: int
    guards: int
    alerts: int
    rules: bool = True


# The fullest view that fits the terminal's height, in lines: a view that scrolls is no view.
_ROWS = (
    _Rows(lines_wide=45, lines_narrow=59, orders=12, positions=10, guards=12, alerts=6),
    _Rows(lines_wide=34, lines_narrow=44, orders=7, positions=6, guards=8, alerts=4),
    _Rows(lines_wide=28, lines_narrow=36, orders=5, positions=4, guards=6, alerts=2),
    _Rows(lines_wide=0, lines_narrow=0, orders=2, positions=2, guards=1, alerts=1, rules=False),
)


def render(snapshot: Mapping[str, Any]) -> RenderableType:
    """The view of one snapshot (see ``holdfast.web.snapshot.Snapshot``), for any Rich console."""
    return _View(snapshot)


def summary(snapshot: Mapping[str, Any]) -> str:
    """The view in one line, for a log."""
    clock = snapshot.get("clock") or {}
    counters = snapshot.get("counters") or {}
    parts = [
        f"{_day(clock.get('current_time'))} {_hour(clock.get('current_time'))}",
        f"{snapshot.get('mode', _DASH)} {snapshot.get('trading_state', _DASH)}",
        f"equity {_money(snapshot.get('equity'))}",
        f"day {_money(snapshot.get('day_pnl'), signed=True)}",
        f"positions {len(snapshot.get('positions') or ())}",
        *(f"{name} {counters.get(name, 0):,}" for name in ("bars", "signals", "orders", "fills", "trades")),
        f"blocked {sum((counters.get('blocked') or {}).values()):,}",
    ]
    return " | ".join(_clean(part) for part in parts)


def alert_line(alert: Mapping[str, Any]) -> str:
    """One alert in one line, for a log."""
    details = alert.get("details")
    text = f"{_hour(alert.get('at'))} {alert.get('level', 'info')}: {alert.get('title', _DASH)}{_repeated(alert)}"
    return _clean(f"{text} ({details})" if details else text)


class _View:
    """Drawn when the console asks, for only then is the size known."""

    def __init__(self, snapshot: Mapping[str, Any]) -> None:
        self._snapshot = snapshot

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        snapshot = self._snapshot
        lines = options.height or console.size.height
        is_wide = options.max_width >= _WIDE_COLUMNS
        rows = next(row for row in _ROWS if lines >= (row.lines_wide if is_wide else row.lines_narrow))
        positions = _positions(snapshot.get("positions") or (), rows)
        guards = _guards(snapshot, rows)
        yield _header(snapshot)
        if is_wide:
            pair = Table.grid(expand=True, padding=0)
            pair.add_column(ratio=5)
            pair.add_column(ratio=4)
            pair.add_row(positions, guards)
            yield pair
        else:
            yield positions
            yield guards
        yield _orders(snapshot.get("orders_recent") or (), rows)
        if alerts := snapshot.get("alerts_recent"):
            yield _alerts(alerts, rows)


##### Panels


def _header(snapshot: Mapping[str, Any]) -> Panel:
    clock = snapshot.get("clock") or {}
    counters = snapshot.get("counters") or {}
    mode = _clean(str(snapshot.get("mode") or _DASH))
    state = _clean(str(snapshot.get("trading_state") or _DASH))
    is_open = clock.get("is_market_hours")

    who = Text(overflow="ellipsis", no_wrap=True)
    who.append(f" {mode.upper()} ", style=_MODE_STYLES.get(mode, "bold reverse"))
    who.append("  " + " · ".join(_clean(str(snapshot[key])) for key in ("venue", "strategy") if snapshot.get(key)))
    when = Text(f"{_day(clock.get('current_time'))} {_hour(clock.get('current_time'))} UTC  ", no_wrap=True)
    if is_open is not None:
        when.append("● open" if is_open else "○ closed", style="green" if is_open else "dim")

    money = Text(overflow="ellipsis", no_wrap=True)
    money.append(state.upper(), style=_STATE_STYLES.get(state, "bold"))
    if reason := snapshot.get("trading_state_reason"):
        money.append(f" ({_clean(str(reason))})", style="yellow")
    money.append("   equity ", style="dim").append(_money(snapshot.get("equity")), style="bold")
    money.append("   cash ", style="dim").append(_money(snapshot.get("cash")))
    money.append("   day ", style="dim").append_text(_profit(snapshot.get("day_pnl")))

    counts = Text(overflow="ellipsis", no_wrap=True)
    for name in ("bars", "signals", "orders", "fills", "trades"):
        counts.append(f"{name} ", style="dim").append(f"{counters.get(name, 0):,}   ")
    if unknown := (snapshot.get("order_tracker") or {}).get("unknown"):
        counts.append(f"unknown {unknown:,}   ", style="bold yellow")
    blocked = {str(name): count for name, count in (counters.get("blocked") or {}).items() if count}
    counts.append("blocked ", style="dim").append(f"{sum(blocked.values()):,}", style="yellow" if blocked else "")
    if blocked:
        worst = sorted(blocked.items(), key=lambda item: (-item[1], item[0]))
        counts.append(" (" + ", ".join(f"{_clean(name)} {count:,}" for name, count in worst) + ")", style="dim")

    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(ratio=1)
    grid.add_column(justify="right")
    grid.add_row(who, when)
    lines: list[RenderableType] = [grid, money, counts, _streams(snapshot)]
    if (progress := snapshot.get("progress")) is not None:
        bar = Table.grid(expand=True)
        bar.add_column(ratio=1)
        bar.add_column(justify="right", width=6)
        share = min(max(float(progress), 0.0), 1.0)
        bar.add_row(ProgressBar(total=1.0, completed=share), f"{share:.0%}")
        lines.append(bar)
    return _panel(Group(*lines), "Holdfast", border="bright_blue")


def _positions(positions: Sequence[Mapping[str, Any]], rows: _Rows) -> Panel:
    if not positions:
        return _panel(Text("flat", style="dim"), "Positions")
    table = _table(("symbol", "left"), ("quantity", "right"), ("average", "right"), ("last", "right"), ("P&L", "right"))
    table.box = SIMPLE_HEAD if rows.rules else None
    shown = sorted(positions, key=lambda position: str(position.get("symbol")))[: rows.positions]
    for position in shown:
        quantity = _decimal(position.get("quantity"))
        table.add_row(
            _text(position.get("symbol"), style="bold"),
            Text(_quantity(quantity), style="red" if quantity is not None and quantity < 0 else "green"),
            _price(position.get("average_price")),
            _price(position.get("last_price")),
            _profit(position.get("unrealised_pnl")),
        )
    return _panel(table, _title("Positions", len(shown), len(positions)))


def _guards(snapshot: Mapping[str, Any], rows: _Rows) -> Panel:
    guards: Mapping[str, Mapping[str, Any]] = snapshot.get("protections") or {}
    if not guards:
        return _panel(Text("none", style="dim"), "Guards")
    now = _moment((snapshot.get("clock") or {}).get("current_time"))
    holding = {name for name, guard in guards.items() if _is_before(now, _moment(guard.get("last_until")))}
    # What holds trading back comes first.
    names = sorted(guards, key=lambda name: (name not in holding, name))[: rows.guards]
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for name in names:
        grid.add_row(_text(name), _guard(guards[name], is_holding=name in holding))
    return _panel(grid, _title("Guards", len(names), len(guards)))


def _guard(guard: Mapping[str, Any], *, is_holding: bool) -> Text:
    mode = str(guard.get("mode") or "enforce").lower()
    if mode == "off":
        return Text("off", style="dim")
    if is_holding:
        word, style = ("would block", "yellow") if mode == "observe" else ("blocks", "bold red")
        reason = _clean(str(guard.get("last_reason") or "no reason given"))
        return Text(f"{word} until {_hour(guard.get('last_until'))}: {reason}", style=style)
    return Text("clear" if mode == "enforce" else f"clear ({_clean(mode)})", style="green")


def _orders(orders: Sequence[Mapping[str, Any]], rows: _Rows) -> Panel:
    if not orders:
        return _panel(Text("none yet", style="dim"), "Orders")
    table = _table(
        ("time", "left"),
        ("symbol", "left"),
        ("side", "left"),
        ("quantity", "right"),
        ("filled", "right"),
        ("price", "right"),
        ("status", "left"),
        ("why", "left"),
    )
    table.box = SIMPLE_HEAD if rows.rules else None
    table.columns[-1].ratio = 1  # words give way to numbers
    shown = list(orders)[-rows.orders :][::-1]  # the newest on top
    for order in shown:
        side = str(order.get("side") or _DASH)
        status = str(order.get("status") or _DASH)
        table.add_row(
            Text(_hour(order.get("at")), style="dim"),
            _text(order.get("symbol"), style="bold"),
            _text(side, style=_SIDE_STYLES.get(side, "")),
            _quantity(_decimal(order.get("quantity"))),
            _quantity(_decimal(order.get("filled_quantity"))),
            _order_price(order),
            _text(status, style=_STATUS_STYLES.get(status, "")),
            _text(_why(order), style="dim"),
        )
    return _panel(table, _title("Orders", len(shown), len(orders)))


def _order_price(order: Mapping[str, Any]) -> Text:
    """What it was paid, or the price that it waits for."""
    if price := order.get("average_price"):
        return _price(price)
    if stop := order.get("stop_price"):
        return Text("stop ", style="dim") + _price(stop)
    if trail := order.get("trail_price"):
        return Text("trail ", style="dim") + _price(trail)
    if percent := order.get("trail_percent"):
        return Text("trail ", style="dim") + _text(f"{percent}%")
    price = order.get("limit_price")
    return _price(price) if price else Text("market", style="dim")


def _why(order: Mapping[str, Any]) -> str:
    """The reason; of an exit that came with another order also of which one, by its number."""
    reason, parent = str(order.get("reason") or ""), str(order.get("parent") or "")
    return f"{reason} of order {parent.rpartition('-')[2]}" if parent else reason


def _streams(snapshot: Mapping[str, Any]) -> Text:
    line = Text(overflow="ellipsis", no_wrap=True)
    for key, name in (("user_stream", "orders"), ("market_stream", "market data")):
        stream = snapshot.get(key) or {}
        connected = stream.get("connected")
        mark, style = ("●", "green") if connected else ("○", "dim" if connected is None else "bold red")
        line.append(f"{mark} ", style=style).append(name)
        if not connected and (state := stream.get("state")):
            line.append(f" {_clean(str(state))}", style=style)
        if disconnects := stream.get("disconnects"):
            line.append(f", lost {disconnects:,}x", style="yellow")
        if last := stream.get("last_message_at"):
            line.append(f", last {_hour(last)}", style="dim")
        line.append("   ")
    if limits := snapshot.get("throttler"):
        name, limit = max(limits.items(), key=_load)
        line.append(f"{_clean(str(name))} {limit.get('in_window', 0):,}/{limit.get('limit', 0):,}", style="dim")
        if queued := limit.get("queued"):
            line.append(f", {queued:,} waiting", style="yellow")
    return line


def _load(item: tuple[str, Mapping[str, Any]]) -> tuple[int, float]:
    """How near a limit is to holding somebody up."""
    limit = item[1]
    return limit.get("queued", 0), limit.get("in_window", 0) / (limit.get("limit", 0) or 1)


def _repeated(alert: Mapping[str, Any]) -> str:
    """How often more the same was told, where an alert sums that up."""
    repeats = alert.get("repeats")
    return f", {repeats} more time{'' if repeats == 1 else 's'}" if repeats else ""


def _alerts(alerts: Sequence[Mapping[str, Any]], rows: _Rows) -> Panel:
    shown = list(alerts)[-rows.alerts :][::-1]
    lines = Text(overflow="ellipsis", no_wrap=True)
    for number, alert in enumerate(shown):
        if number:
            lines.append("\n")
        lines.append(f"{_hour(alert.get('at'))}  ", style="dim")
        lines.append(_clean(str(alert.get("title") or _DASH)), style=_LEVEL_STYLES.get(str(alert.get("level")), ""))
        lines.append(_clean(_repeated(alert)), style="dim")
        if details := alert.get("details"):
            lines.append(f"  {_clean(str(details))}", style="dim")
    return _panel(lines, _title("Alerts", len(shown), len(alerts)))


##### Parts


def _panel(content: RenderableType, title: str, *, border: str = "blue") -> Panel:
    return Panel(content, title=Text(title, style="bold"), title_align="left", box=ROUNDED, border_style=border)


def _table(*columns: tuple[str, Any]) -> Table:
    table = Table(box=SIMPLE_HEAD, expand=True, padding=(0, 1), show_edge=False, header_style="dim")
    for name, justify in columns:
        table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis")
    return table


def _title(name: str, shown: int, total: int) -> str:
    return name if shown == total else f"{name} ({shown} of {total})"


def _text(value: object, *, style: str = "") -> Text:
    return Text(_DASH if value is None else _clean(str(value)), style=style)


def _clean(text: str) -> str:
    """Text from elsewhere (a venue, a user's strategy) must not be able to steer the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def _decimal(value: object) -> Decimal | None:
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    # Nobody holds 1e+999; written out it would fill the screen, and the memory first.
    return number if number.is_finite() and abs(number.adjusted()) <= _MAGNITUDE_MAX else None


def _money(value: object, *, signed: bool = False) -> str:
    number = _decimal(value)
    if number is None:
        return _DASH
    return f"{number:+,.2f}" if signed else f"{number:,.2f}"


def _profit(value: object) -> Text:
    number = _decimal(value)
    style = "dim" if number is None else "green" if number > 0 else "red" if number < 0 else ""
    return Text(_money(value, signed=True), style=style)


def _price(value: object) -> Text:
    number = _decimal(value)
    if number is None:
        return Text(_DASH, style="dim")
    return Text(f"{number:,.2f}" if abs(number) >= 1 or not number else f"{number:.4g}")


def _quantity(number: Decimal | None) -> str:
    return _DASH if number is None else f"{number.normalize():,f}"


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if not isinstance(moment, datetime):
            return None
        return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # no time at all, or one that UTC puts before year 1
        return None


def _is_before(now: datetime | None, until: datetime | None) -> bool:
    """Whether a hold is still on; without a clock, that there is one is all that is known."""
    return until is not None and (now is None or now < until)


def _hour(value: object) -> str:
    moment = _moment(value)
    return f"{moment:%H:%M:%S}" if moment else _DASH


def _day(value: object) -> str:
    moment = _moment(value)
    return f"{moment:%Y-%m-%d}" if moment else _DASH
