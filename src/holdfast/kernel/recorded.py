"""A restart follows the journal: recorded decisions win over what would be decided today.

While a journal is followed, strategies and guards run as they did, and each decision that they come
to is laid beside the recorded one. The recorded one is enacted. A difference means that code or
configuration changed since: it is described, and nothing of it is ever sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from holdfast.kernel.signal_path import Decision
from holdfast.model import OrderIntent, Stage, Verdict
from holdfast.model.commands import PLACING, Command, RecordVerdict


class RecordedDecisions:
    """The decisions that one event led to when it was handled first."""

    def __init__(self, commands: Sequence[Command]) -> None:
        intents = {c.intent.client_order_id: c.intent for c in commands if isinstance(c, PLACING)}
        self._decisions = deque(
            (_decision(c.verdict, intents), c.request) for c in commands if isinstance(c, RecordVerdict)
        )
        self._differences: list[str] = []

    def settle(self, computed: Decision) -> Decision:
        """The recorded decision on the same signal; where there is none, a refusal."""
        signal = computed.verdict.signal
        if self._decisions and self._decisions[0][0].verdict.signal == signal:
            recorded = self._decisions.popleft()[0]
            if _outcome(recorded) != _outcome(computed):
                self._differences.append(
                    f"{signal.side} {signal.quantity} {signal.symbol}: recorded as {_describe(recorded)}, "
                    f"would be {_describe(computed)} today"
                )
            return recorded
        self._differences.append(f"{signal.side} {signal.quantity} {signal.symbol}: not in the journal, not sent")
        verdict = computed.verdict
        return Decision(
            Verdict(
                ts=verdict.ts,
                approved=False,
                stage=verdict.stage if not verdict.approved else Stage.RISK,
                signal=signal,
                guard="not_recorded",
                reason="the journal has no such signal at this place",
            )
        )

    def remaining(self) -> Iterator[tuple[Decision, int | None]]:
        """Recorded decisions that nobody asked for this time. They happened, so they are enacted."""
        while self._decisions:
            decision, request = self._decisions.popleft()
            signal = decision.verdict.signal
            self._differences.append(
                f"{signal.side} {signal.quantity} {signal.symbol}: recorded as {_describe(decision)}, not asked for today"
            )
            yield decision, request

    def differences(self) -> tuple[str, ...]:
        """What would be otherwise today."""
        return tuple(self._differences)


def _decision(verdict: Verdict, intents: dict[str, OrderIntent]) -> Decision:
    intent = intents.get(verdict.client_order_id) if verdict.client_order_id else None
    return Decision(verdict, intent)


def _outcome(decision: Decision) -> tuple[object, ...]:
    return (decision.verdict.approved, decision.verdict.stage, decision.intent)


def _describe(decision: Decision) -> str:
    if decision.intent is not None:
        return f"order {decision.intent.client_order_id.rpartition('-')[2]} of {decision.intent.quantity}"
    return f"{decision.verdict.stage} ({decision.verdict.guard})"
