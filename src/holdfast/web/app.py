"""The status API: two questions, answered from memory.

``GET /healthz`` is for a supervisor, so it takes no token and says no more than whether all is well
and, if not, why. Everything else, also a path that does not exist, takes the token: the check stands
in front of the routes instead of on each, so that a route added later cannot forget it.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from fastapi import FastAPI, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from holdfast.web.token import check_token

_OPEN_PATHS = frozenset({"/healthz"})
_encoder = msgspec.json.Encoder(decimal_format="string")


class StatusSource(Protocol):
    """Whatever can be watched.

    Both calls are made on the bot's own loop: they must not wait, and what they return is the caller's, never
    changed afterwards, since a window may read it in a thread.
    """

    def snapshot(self) -> Mapping[str, Any]:
        """Everything to show, in the shape of ``holdfast.web.snapshot.Snapshot``."""
        ...

    def health(self) -> tuple[bool, list[str]]:
        """Whether all is well, and the reasons where it is not."""
        ...


def create_app(source: StatusSource, token: str) -> FastAPI:
    """The status application of one bot.

    Args:
        source: What is shown.
        token: Whoever sends ``Authorization: Bearer <token>`` may see it.

    Raises:
        ConfigurationError: The token is too short to be one, or cannot stand in a header.
    """
    app = FastAPI(
        title="Holdfast",
        description="What a running bot is doing.",
        docs_url=None,  # the pages would load scripts from elsewhere; /openapi.json stays, behind the token
        redoc_url=None,
    )
    app.add_middleware(BearerAuth, token=check_token(token))

    # Coroutines, not plain functions: those would run in a thread, beside the kernel that they read.
    @app.get("/status")
    async def status() -> Response:
        """The whole snapshot; Decimals as strings, so that nothing is rounded on the way."""
        return _json(source.snapshot())

    @app.get("/healthz")
    async def healthz() -> Response:
        """200 while all is well, 503 with the reasons while it is not."""
        healthy, reasons = source.health()
        if healthy:
            return _json({"status": "ok"})
        return _json({"status": "unhealthy", "reasons": reasons}, status_code=503)

    return app


class BearerAuth:
    """ASGI middleware: no token, no answer. Compares in constant time."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode("ascii")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] == "lifespan" or scope["path"] in _OPEN_PATHS or self._is_authorised(scope):
            await self._app(scope, receive, send)
            return
        response = _json(
            {"error": "this needs the header 'Authorization: Bearer TOKEN' with the status token"},
            status_code=401,
            headers={"WWW-Authenticate": 'Bearer realm="holdfast"'},
        )
        await response(scope, receive, send)

    def _is_authorised(self, scope: Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            return False
        scheme, _, credentials = given[0].partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(credentials.strip(), self._token)


def _json(content: object, *, status_code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        _encoder.encode(content),
        status_code=status_code,
        headers={"Cache-Control": "no-store", **(headers or {})},
        media_type="application/json",
    )
