"""Massive's REST API and socket, where market data come from there, against a server that answers as they do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from holdfast.doctor import State
from holdfast.doctor.massive import REST_REMEDIES, STREAM_REMEDIES
from holdfast.realtime.massive import STATUSES
from holdfast.testing.massive_socket import MassiveSocket
from holdfast.testing.vendors import KEY as VENDORS_KEY
from holdfast.testing.vendors import NOT_ENTITLED, TOO_MANY, UNKNOWN_KEY, Answer, VendorServer
from tests.doctor.conftest import Look
from tests.doctor.stub import Stub

SPY = {"symbols": ["SPY"]}


@pytest.fixture
async def massive() -> AsyncIterator[tuple[MassiveSocket, VendorServer, dict[str, Any]]]:
    """Its socket, its REST API, and the settings that lead to both."""
    async with MassiveSocket() as socket, VendorServer() as rest:
        polygon = {"api_key": VENDORS_KEY, "base_url": rest.url, "stream_url": socket.url}
        yield socket, rest, {"market_data": "massive", "polygon": polygon, "strategy": SPY}


Massive = tuple[MassiveSocket, VendorServer, dict[str, Any]]


async def test_massive_is_looked_at_where_bars_come_from_there(look: Look, stub: Stub, massive: Massive) -> None:
    """Its REST API and its socket, with one request and one connection, which is closed again."""
    socket, rest, settings = massive
    api = await look("data API", stub.url, **settings)
    streams = await look("data streams", stub.url, **settings)
    assert (api.state, api.said) == (State.OK, "Massive gives bars of stocks")
    assert (streams.state, streams.said) == (State.OK, "authenticated and subscribed at Massive; closed again")
    assert (socket.connections, socket.open, len(rest.requests)) == (1, 0, 1)


@pytest.mark.parametrize("name", STREAM_REMEDIES)
async def test_each_status_of_massives_socket_is_explained(look: Look, stub: Stub, massive: Massive, name: str) -> None:
    """In words, with what to do; the key is not shown."""
    socket, _, settings = massive
    socket.refusals = [name]
    found = await look("data streams", stub.url, **settings)
    assert found.state is State.FAILED
    assert STATUSES[name].sentence in found.said
    assert found.remedy == STREAM_REMEDIES[name]
    assert VENDORS_KEY not in str(found)


@pytest.mark.parametrize(
    ("answer", "said", "status"),
    [
        (UNKNOWN_KEY, "it does not accept the API key", 401),
        (NOT_ENTITLED, "the plan of this API key does not include the data", 403),
        (TOO_MANY, "its rate limit is exceeded", 429),
    ],
)
async def test_each_no_of_massives_rest_api_is_explained(
    look: Look, stub: Stub, massive: Massive, answer: Answer, said: str, status: int
) -> None:
    """Asked once."""
    _, rest, settings = massive
    rest.script = [answer]
    found = await look("data API", stub.url, **settings)
    assert (found.state, found.remedy) == (State.FAILED, REST_REMEDIES[status])
    assert said in found.said


@pytest.mark.parametrize(
    ("change", "said"),
    [({"polygon": {}}, "polygon.api_key is not set"), ({"watch": ["BTC/USD"]}, "BTC/USD would be followed")],
)
async def test_what_massive_cannot_do_is_a_finding_of_the_configuration(
    look: Look, change: dict[str, Any], said: str
) -> None:
    """As at the start of a bot."""
    settings = {"market_data": "massive", "polygon": {"api_key": VENDORS_KEY}, "strategy": SPY, **change}
    found = await look("configuration", **settings)
    assert found.state is State.FAILED
    assert said in found.said


@pytest.mark.parametrize(
    ("count", "limits", "state"),
    [(5, {}, State.OK), (6, {}, State.WARNING), (40, {"polygon": {"limit": 1_000}}, State.OK)],
)
async def test_a_limit_that_keeps_bars_waiting_is_told(
    look: Look, stub: Stub, massive: Massive, count: int, limits: dict[str, Any], state: State
) -> None:
    """The free plan's five a minute, which is the default, is too little for a bot with many symbols."""
    settings = {**massive[2], "watch": [f"S{number}" for number in range(count - 1)], "limits": limits}
    found = await look("data API", stub.url, **settings)
    assert found.state is state
    assert ("those of 6 symbols take 60 s" in found.said) is (state is State.WARNING)
