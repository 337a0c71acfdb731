"""The asyncio shell around the kernel."""

from holdfast.runner.inbox import Inbox
from holdfast.runner.outbox import Outbox
from holdfast.runner.ports import AlertPort, BrokerPort
from holdfast.runner.recovery import Recovery, recover
from holdfast.runner.runner import Runner

__all__ = ["AlertPort", "BrokerPort", "Inbox", "Outbox", "Recovery", "Runner", "recover"]
