"""The asyncio shell around the kernel."""

from typing import TYPE_CHECKING

from holdfast.model.later import later

if TYPE_CHECKING:
    from holdfast.runner.inbox import Inbox
    from holdfast.runner.outbox import Outbox
    from holdfast.runner.ports import AlertPort, BrokerPort
    from holdfast.runner.recovery import Recovery, recover
    from holdfast.runner.runner import Runner
else:
    # Whoever stops a bot needs its files, and not the kernel.
    __getattr__ = later(
        __name__,
        {
            "AlertPort": "ports",
            "BrokerPort": "ports",
            "Inbox": "inbox",
            "Outbox": "outbox",
            "Recovery": "recovery",
            "Runner": "runner",
            "recover": "recovery",
        },
    )

__all__ = ["AlertPort", "BrokerPort", "Inbox", "Outbox", "Recovery", "Runner", "recover"]
