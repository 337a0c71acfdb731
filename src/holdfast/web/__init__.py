"""The windows of a running bot: a status API behind a token, and a live view for the terminal.

Nothing here knows the bot. It is shown through `StatusSource`, two cheap calls that the container
answers, so that a window can be opened, closed or stuck without anybody on the trading path noticing.
"""

from typing import TYPE_CHECKING

from holdfast.model.later import later
from holdfast.web.token import generate_token, load_or_create_token

if TYPE_CHECKING:
    from holdfast.web.app import StatusSource, create_app
    from holdfast.web.server import StatusServer
    from holdfast.web.snapshot import Snapshot
else:
    # FastAPI and Uvicorn are for whoever serves, not for whoever only reads the token.
    __getattr__ = later(
        __name__, {"Snapshot": "snapshot", "StatusServer": "server", "StatusSource": "app", "create_app": "app"}
    )

__all__ = [
    "Snapshot",
    "StatusServer",
    "StatusSource",
    "create_app",
    "generate_token",
    "load_or_create_token",
]
