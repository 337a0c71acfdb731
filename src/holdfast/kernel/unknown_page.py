"""The decision table of unknown outcomes as a page for people: docs/UNKNOWN.md is made of this."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.kernel.settings import KernelSettings
from holdfast.kernel.unknown_table import CASES, SCHEDULES, Again, Case, Request
from holdfast.model.enums import Outcome
from holdfast.model.timestamps import NS_PER_SECOND

_HEADINGS: Mapping[Request, str] = {
    Request.SUBMIT: "A submit ended without its order",
    Request.LOOKUP: "A look-up was answered, or not",
    Request.CANCEL: "A cancel ended without the order's end",
    Request.REPLACE: "A replace ended without the new order",
}


def render_markdown() -> str:
    """The rows as Markdown: a table for each kind of request, and the reasons below it."""
    parts = []
    for request, heading in _HEADINGS.items():
        cases = [case for case in CASES if case.request is request]
        lines = [
            f"### {heading}",
            "",
            "| | it ended as | our books say | what is known | becomes | asked at once | asked again | what settles it |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
            *(_row(case) for case in cases),
            "",
            *(f"- **{case.label}** {case.why}" for case in cases),
            "",
        ]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def render_schedules() -> str:
    """The schedules with the default settings."""
    settings = KernelSettings()
    lines = [
        "| schedule | first after | then | at most every | people are told after |",
        "| --- | --- | --- | --- | --- |",
    ]
    for again, schedule in SCHEDULES.items():
        first, most = (getattr(settings, name) / NS_PER_SECOND for name in (schedule.first, schedule.most))
        growth = "each time twice as long" if most > first else "the same"
        told = schedule.patience(settings) / NS_PER_SECOND
        lines.append(f"| {again} | {first:g} s | {growth} | {most:g} s | {told:g} s |")
    return "\n".join(lines) + "\n"


def _row(case: Case) -> str:
    named = case.outcomes if len(case.outcomes) <= len(Outcome) // 2 else ()
    ended = ", ".join(f"`{outcome}`" for outcome in named)
    if not named:
        missing = [outcome for outcome in Outcome if outcome not in case.outcomes]
        others = ", ".join(f"`{outcome}`" for outcome in missing)
        ended = f"anything but {others}" if missing else "anything"
    conditions = [_condition(name, getattr(case, name)) for name in _WORDS]
    says = "; ".join([" or ".join(case.standing), *(condition for condition in conditions if condition)])
    becomes = f"`{case.trigger}`" if case.trigger is not None else "-"
    asks = ", ".join(case.asks) or "-"
    again = "-" if case.again is Again.NO else str(case.again)
    return f"| **{case.label}** | {ended} | {says} | {case.known} | {becomes} | {asks} | {again} | {case.settles} |"


_WORDS: Mapping[str, tuple[str, str]] = {
    "stream_up": ("the order stream is down", "the order stream is up"),
    "waited": ("the grace period has not passed", "the grace period has passed"),
    "ended": ("no order that it was to replace has ended", "the order that it was to replace has ended otherwise"),
    "compared": ("no list of orders was asked for since", "a list of orders asked for since does not show it"),
}


def _condition(name: str, cell: bool | None) -> str:
    return "" if cell is None else _WORDS[name][cell]
