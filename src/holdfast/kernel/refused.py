"""The answer to a signal that comes when the bot is about to stop."""

from __future__ import annotations

from holdfast.model import Stage, Verdict


def stopping_verdict(verdict: Verdict) -> Verdict:
    """The refusal, in place of the verdict that the signal would have had."""
    return Verdict(
        ts=verdict.ts,
        approved=False,
        stage=Stage.RISK,
        signal=verdict.signal,
        guard="stopping",
        reason="the bot is stopping",
        observed=verdict.observed,
    )
