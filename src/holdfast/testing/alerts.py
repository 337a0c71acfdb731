"""An alert port that remembers instead of telling."""

from __future__ import annotations

from typing import NamedTuple


class Alert(NamedTuple):
    """One message to people."""

    channel: str
    title: str
    details: str


class RecordingAlerts:
    """Keeps every alert, oldest first. It is an ``AlertPort`` of the runner.

    Attributes:
        alerts: What was told.
    """

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def notify_nowait(self, channel: str, title: str, details: str = "") -> None:
        """Remember a message."""
        self.alerts.append(Alert(channel, title, details))

    def titles(self, channel: str | None = None) -> list[str]:
        """What was told on a channel, or on all."""
        return [alert.title for alert in self.alerts if channel is None or alert.channel == channel]
