"""Every answer of the venue against Alpaca's published descriptions, where they lie beside the repository; schemathesis judges.

Two ways. ``SAMPLES`` are requests that we know to be well answered; each answer must be the documented one, but for the
``GAPS``, where the description is older or narrower than what the real API sends. A gap that has closed fails. And for every
operation that is served schemathesis makes requests of its own, in real HTTP at the real port: no 5xx, and each 200 as documented.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.venue.helpers import KEYS, OPENING, Bot, VenueProcess, limit, market, minutes, venues

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.core.failures import Failure, FailureGroup


def _descriptions() -> Path:
    """The folder beside the repository that holds them, wherever above this file it is."""
    places = (folder / "shared" / "openapi" for folder in Path(__file__).parents)
    return next((place for place in places if place.is_dir()), Path("shared/openapi"))


DESCRIPTIONS: Final = _descriptions()
TRADING, DATA = "trading-api.json", "market-data-api.json"

pytestmark = [
    pytest.mark.skipif(not (DESCRIPTIONS / TRADING).exists(), reason="the published descriptions are not here"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.slow,
]

Ask = Callable[[dict[str, str]], tuple[str, dict[str, Any]]]


def at(path: str, **request: Any) -> Ask:
    """A request to a path, in which names in braces are those of the world."""
    return lambda world: (path.format(**world), request)


#: What is asked, by a name that begins with the method and the path of the description.
SAMPLES: Final[dict[str, tuple[str, Ask]]] = {
    "GET /v2/account": (TRADING, at("/v2/account")),
    "GET /v2/account/configurations": (TRADING, at("/v2/account/configurations")),
    "PATCH /v2/account/configurations": (
        TRADING,
        at("/v2/account/configurations", json={"max_options_trading_level": 1}),
    ),
    "GET /v2/account/configurations: after it": (TRADING, at("/v2/account/configurations")),
    "GET /v2/account/portfolio/history": (TRADING, at("/v2/account/portfolio/history")),
    "GET /v2/account/portfolio/history: minutes": (
        TRADING,
        at("/v2/account/portfolio/history", params={"period": "1D", "cashflow_types": "ALL"}),
    ),
    "GET /v2/account/activities": (TRADING, at("/v2/account/activities")),
    "GET /v2/account/activities/{activity_type}: fills": (TRADING, at("/v2/account/activities/FILL")),
    "GET /v2/account/activities/{activity_type}: dividends": (TRADING, at("/v2/account/activities/DIV")),
    "GET /v2/assets": (TRADING, at("/v2/assets")),
    "GET /v2/assets: crypto": (TRADING, at("/v2/assets", params={"asset_class": "crypto"})),
    "GET /v2/assets/{symbol_or_asset_id}": (TRADING, at("/v2/assets/SPY")),
    "GET /v2/assets/{symbol_or_asset_id}: crypto": (TRADING, at("/v2/assets/BTC%2FUSD")),
    "GET /v2/clock": (TRADING, at("/v2/clock")),
    "GET /v2/calendar": (TRADING, at("/v2/calendar", params={"start": "2024-01-01", "end": "2024-02-01"})),
    "GET /v3/clock": (TRADING, at("/v3/clock")),
    "GET /v3/calendar/{market}": (TRADING, at("/v3/calendar/NYSE")),
    "GET /v2/corporate_actions/announcements": (
        TRADING,
        at(
            "/v2/corporate_actions/announcements",
            params={"ca_types": "dividend", "since": "2024-01-01", "until": "2024-02-01"},
        ),
    ),
    "GET /v2/options/contracts": (TRADING, at("/v2/options/contracts")),
    "POST /v2/orders": (TRADING, at("/v2/orders", json=limit("1", "100", symbol="SPY"))),
    "POST /v2/orders: market": (TRADING, at("/v2/orders", json=market("1", symbol="SPY"))),
    "POST /v2/orders: crypto": (TRADING, at("/v2/orders", json=limit("0.1", "30000"))),
    "POST /v2/orders: refused": (TRADING, at("/v2/orders", json=market("1000000", symbol="SPY"))),
    "GET /v2/orders": (TRADING, at("/v2/orders", params={"status": "all"})),
    "GET /v2/orders/{order_id}": (TRADING, at("/v2/orders/{resting}")),
    "GET /v2/orders/{order_id}: filled": (TRADING, at("/v2/orders/{filled}")),
    "GET /v2/orders:by_client_order_id": (
        TRADING,
        at("/v2/orders:by_client_order_id", params={"client_order_id": "resting"}),
    ),
    "PATCH /v2/orders/{order_id}": (TRADING, at("/v2/orders/{resting}", json={"limit_price": "101"})),
    "DELETE /v2/orders/{order_id}": (TRADING, at("/v2/orders/{doomed}")),
    "DELETE /v2/orders/{order_id}: filled": (TRADING, at("/v2/orders/{filled}")),
    "GET /v2/positions": (TRADING, at("/v2/positions")),
    "GET /v2/positions/{symbol_or_asset_id}": (TRADING, at("/v2/positions/SPY")),
    "GET /v2/positions/{symbol_or_asset_id}: crypto": (TRADING, at("/v2/positions/BTCUSD")),
    "DELETE /v2/orders": (TRADING, at("/v2/orders")),
    "DELETE /v2/positions/{symbol_or_asset_id}": (TRADING, at("/v2/positions/SPY", params={"qty": "1"})),
    "DELETE /v2/positions": (TRADING, at("/v2/positions", params={"cancel_orders": "true"})),
    "GET /v2/watchlists": (TRADING, at("/v2/watchlists")),
    "POST /v2/watchlists": (TRADING, at("/v2/watchlists", json={"name": "new", "symbols": ["SPY"]})),
    "GET /v2/watchlists/{watchlist_id}": (TRADING, at("/v2/watchlists/{watchlist}")),
    "PUT /v2/watchlists/{watchlist_id}": (TRADING, at("/v2/watchlists/{watchlist}", json={"name": "renamed"})),
    "POST /v2/watchlists/{watchlist_id}": (TRADING, at("/v2/watchlists/{watchlist}", json={"symbol": "SPY"})),
    "DELETE /v2/watchlists/{watchlist_id}/{symbol}": (TRADING, at("/v2/watchlists/{watchlist}/SPY")),
    "GET /v2/watchlists:by_name": (TRADING, at("/v2/watchlists:by_name", params={"name": "new"})),
    "PUT /v2/watchlists:by_name": (
        TRADING,
        at("/v2/watchlists:by_name", params={"name": "new"}, json={"name": "new", "symbols": []}),
    ),
    "POST /v2/watchlists:by_name": (
        TRADING,
        at("/v2/watchlists:by_name", params={"name": "new"}, json={"symbol": "SPY"}),
    ),
    "DELETE /v2/watchlists:by_name": (TRADING, at("/v2/watchlists:by_name", params={"name": "new"})),
    "DELETE /v2/watchlists/{watchlist_id}": (TRADING, at("/v2/watchlists/{watchlist}")),
    "GET /v1/corporate-actions": (DATA, at("/v1/corporate-actions", params={"start": "2024-01-01"})),
    "GET /v1beta1/news": (DATA, at("/v1beta1/news")),
    "GET /v2/stocks/bars": (
        DATA,
        at("/v2/stocks/bars", params={"symbols": "SPY", "timeframe": "1Min", "start": "2024-01-02"}),
    ),
    "GET /v2/stocks/{symbol}/bars": (
        DATA,
        at("/v2/stocks/SPY/bars", params={"timeframe": "1Min", "start": "2024-01-02"}),
    ),
    "GET /v2/stocks/bars/latest": (DATA, at("/v2/stocks/bars/latest", params={"symbols": "SPY"})),
    "GET /v2/stocks/{symbol}/bars/latest": (DATA, at("/v2/stocks/SPY/bars/latest")),
    "GET /v2/stocks/{symbol}/bars/latest: unknown": (DATA, at("/v2/stocks/NONE/bars/latest")),
    "GET /v1beta3/crypto/{loc}/bars": (
        DATA,
        at("/v1beta3/crypto/us/bars", params={"symbols": "BTC/USD", "timeframe": "1Min", "start": "2024-01-02"}),
    ),
    "GET /v1beta3/crypto/{loc}/latest/bars": (
        DATA,
        at("/v1beta3/crypto/us/latest/bars", params={"symbols": "BTC/USD"}),
    ),
}

#: Where an answer is not as described, and must not be: what the failure says, and why it is right.
_NO_CRYPTO = ('"CRYPTO" is not one of', "the enumeration of exchanges leaves out crypto's, which the real API sends")
GAPS: Final[dict[str, tuple[str, str]]] = {
    "GET /v2/account/configurations": (
        "/properties/max_options_trading_level",
        "null means that there is no wish; the description knows numbers only",
    ),
    "GET /v2/account/activities/{activity_type}: fills": (
        "Schema at /items",
        "none of the fields of a fill or of another activity is required, so a fill is both, and it must be one",
    ),
    "GET /v2/assets: crypto": _NO_CRYPTO,
    "GET /v2/assets/{symbol_or_asset_id}: crypto": _NO_CRYPTO,
    "GET /v2/positions": _NO_CRYPTO,
    "GET /v2/positions/{symbol_or_asset_id}: crypto": _NO_CRYPTO,
    "GET /v2/stocks/{symbol}/bars/latest: unknown": (
        'null is not of type "object"',
        "what is answered where there is no bar is not described; here it is null",
    ),
}

#: The same of the requests that schemathesis makes: words of tolerated failures.
TOLERATED: Final = tuple(sorted({said for said, _ in GAPS.values()}))


async def _prepare(venue: VenueProcess) -> dict[str, str]:
    """An account that has traded; gives the ids that the samples name."""
    async with Bot.connected(venue, "SPY", "QQQ") as bot:
        await bot.run(2)
        async with httpx.AsyncClient(base_url=venue.url, headers=KEYS, trust_env=False) as client:
            filled = (await client.post("/v2/orders", json=market("10", symbol="SPY"))).json()
            await client.post("/v2/orders", json=market("0.5"))
            await bot.run(4)
            posted = {"activity_type": "DIV", "symbol": "SPY", "net_amount": "1.5"}
            await client.post(f"{venue.admin}/accounts/key/activities", json=posted)
            resting, doomed = [
                (await client.post("/v2/orders", json=limit("2", "100", symbol="SPY", client_order_id=name))).json()
                for name in ("resting", "doomed")
            ]
            watchlist = (await client.post("/v2/watchlists", json={"name": "mine", "symbols": ["QQQ"]})).json()
    named = {"filled": filled, "resting": resting, "doomed": doomed, "watchlist": watchlist}
    return {name: body["id"] for name, body in named.items()}


class World:
    """A venue, the ids of what is in it, and the descriptions."""

    def __init__(self, venue: VenueProcess) -> None:
        self.venue = venue
        self.ids = asyncio.run(_prepare(venue))
        self.schemas: dict[str, Any] = {
            name: schemathesis.openapi.from_dict(msgspec.json.decode((DESCRIPTIONS / name).read_bytes()))
            for name in (TRADING, DATA)
        }

    def operation(self, description: str, name: str) -> Any:
        """The operation that a sample's name begins with."""
        method, _, path = name.partition(" ")
        return self.schemas[description][path.partition(": ")[0] if ": " in path else path][method]

    def failures(self, name: str) -> str:
        """What is wrong with the answer to a sample; empty if nothing is."""
        description, ask = SAMPLES[name]
        path, request = ask(self.ids)
        with httpx.Client(base_url=self.venue.url, headers=KEYS, trust_env=False) as client:
            response = client.request(name.partition(" ")[0], path, **request)
        assert response.status_code < 500, response.text
        return failure_of(self.operation(description, name), response)


def failure_of(operation: Any, response: Any) -> str:
    """What is wrong with an answer; empty if nothing is."""
    try:
        operation.validate_response(response)
    except (Failure, FailureGroup) as failure:
        return said(failure)
    return ""


def said(failure: BaseException) -> str:
    """All that a failure, or a group of them, says."""
    parts = [str(failure), *map(said, getattr(failure, "exceptions", ()))]
    return "\n".join(parts)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all tests of this file."""
    series = [minutes(symbol, 60, start=OPENING, base=base) for symbol, base in (("SPY", 400.0), ("QQQ", 300.0))]
    with venues(tmp_path_factory.mktemp("schemas")) as start, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        yield World(start(*series, minutes(start=OPENING), participation=None, rate_limit=None))


def test_answers_are_as_alpaca_describes_them(world: World) -> None:
    """Every sample in turn, since some change what others read; each gap fails as it says, and nothing else fails."""
    found = {name: world.failures(name) for name in SAMPLES}

    unexpected = {name: text for name, text in found.items() if text and name not in GAPS}
    assert not unexpected, "\n\n".join(f"{name}: {text}" for name, text in unexpected.items())
    closed = [name for name, (text, _) in GAPS.items() if text not in found[name]]
    assert not closed, f"gaps that no longer fail as they say: {closed}"


FUZZED = sorted(
    {(description, name.partition(": ")[0]) for name, (description, _) in SAMPLES.items() if name.startswith("GET")}
)


@pytest.mark.parametrize(("description", "name"), FUZZED, ids=[name for _, name in FUZZED])
def test_whatever_is_asked_is_answered_as_described(world: World, description: str, name: str) -> None:
    """Schemathesis asks by the description: no 5xx, and a 200 is the documented one but for the gaps."""
    operation = world.operation(description, name)

    @given(case=operation.as_strategy())
    @settings(
        max_examples=8,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def ask(case: Any) -> None:
        response = case.call(base_url=world.venue.url, headers=KEYS, timeout=30)
        assert response.status_code < 500, response.text
        if response.status_code == 200:
            wrong = failure_of(operation, response)
            assert not wrong or any(gap in wrong for gap in TOLERATED), wrong

    ask()
