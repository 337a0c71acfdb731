"""``holdfast doctor``: the findings, a line each, as they come."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import typer

from holdfast.cli.logs import silence_logs
from holdfast.cli.market import Market
from holdfast.cli.venue_process import local_venue
from holdfast.doctor import CHECKS, Finding, Situation, State, examine
from holdfast.journal.places import Place

_COLOURS = {
    State.OK: typer.colors.GREEN,
    State.WARNING: typer.colors.YELLOW,
    State.FAILED: typer.colors.RED,
    State.SKIPPED: typer.colors.BRIGHT_BLACK,
}
_STATE_WIDTH = max(map(len, State))
_NAME_WIDTH = max(len(check.name) for check in CHECKS)


async def doctor(
    config: Path | None,
    journal: Place | None,
    venue: str | None,
    symbol: str | None,
    *,
    notify: bool,
    as_json: bool,
) -> bool:
    """Look at everything; returns whether nothing failed."""
    silence_logs()
    overrides: dict[str, Any] = {} if journal is None else {"journal": {"path": journal}}
    if symbols := Market(symbol=symbol).symbols:
        overrides["strategy"] = {"symbols": symbols}
    situation = Situation(
        config, overrides if venue is None else local_venue(overrides, venue, keep_keys=True), notify=notify
    )
    findings: list[Finding] = []
    async for finding in examine(situation):
        findings.append(finding)
        if not as_json and not finding.waits_for:
            _print(finding)
    counts = Counter(finding.state for finding in findings)
    if as_json:
        said = {
            "failed": counts[State.FAILED],
            "warnings": counts[State.WARNING],
            "findings": [msgspec.structs.asdict(finding) for finding in findings],
        }
        typer.echo(msgspec.json.encode(said).decode())
    else:
        waiting = [finding.name for finding in findings if finding.waits_for]
        if waiting:
            _print(
                Finding(
                    name="the rest", state=State.SKIPPED, said=f"{', '.join(waiting)}: these need what stands above"
                )
            )
        warnings = f"{counts[State.WARNING]} warning{'' if counts[State.WARNING] == 1 else 's'}"
        typer.echo(
            f"{counts[State.OK]} ok, {warnings}, {counts[State.FAILED]} failed, {counts[State.SKIPPED]} not checked"
        )
    return not counts[State.FAILED]


def _print(finding: Finding) -> None:
    state = typer.style(f"{finding.state:<{_STATE_WIDTH}}", fg=_COLOURS[finding.state])
    typer.echo(f"{state}  {finding.name:<{_NAME_WIDTH}}  {finding.said}")
    if finding.remedy:
        typer.echo(f"{'':<{_STATE_WIDTH}}  {'':<{_NAME_WIDTH}}  -> {finding.remedy}")
