"""The pages at ``/``: what a browser sees, and what a program gets."""

from __future__ import annotations

import re
from html import unescape

import httpx
import pytest

from holdfast.venue.page import CLIENTS
from tests.venue.helpers import VenueProcess

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def _get(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers=headers, trust_env=False, timeout=30).raise_for_status()


def test_a_browser_sees_how_to_point_each_client_at_the_venue(venue: VenueProcess) -> None:
    """With the addresses of this very venue, and where its admin port is; a program gets the facts as JSON."""
    page = _get(venue.url, **BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    text = unescape(page.text)
    for name, _ in CLIENTS:
        assert f"<h3>{name}</h3>" in text
    assert f'TradingStream(*keys, url_override="{venue.socket_url}/stream")' in text
    assert f'href="{venue.admin}/"' in text
    facts = _get(venue.url).json()
    assert (facts["name"], facts["admin"], facts["symbols"]) == ("holdfast-venue", venue.admin, ["BTC/USD"])


@pytest.mark.filterwarnings("ignore:websockets.legacy:DeprecationWarning")
def test_the_snippet_of_the_official_sdk_runs_as_it_is_shown(venue: VenueProcess) -> None:
    """All its clients can be made of it, and the trading one finds an account."""
    from alpaca.data.historical import CryptoHistoricalDataClient, StockHistoricalDataClient  # noqa: PLC0415 - imports when needed: the SDK takes a second
    from alpaca.data.live import CryptoDataStream, StockDataStream  # noqa: PLC0415 - imports when needed: the SDK takes a second
    from alpaca.trading.client import TradingClient  # noqa: PLC0415 - imports when needed: the SDK takes a second
    from alpaca.trading.stream import TradingStream  # noqa: PLC0415 - imports when needed: the SDK takes a second

    text = unescape(_get(venue.url, **BROWSER).text)
    snippet = next(block for block in re.findall(r"<pre>(.*?)</pre>", text, re.DOTALL) if "TradingClient" in block)
    shown = [line for line in snippet.splitlines() if "url_override" in line]
    names = {
        client.__name__: client
        for client in (
            TradingClient,
            StockHistoricalDataClient,
            CryptoHistoricalDataClient,
            TradingStream,
            StockDataStream,
            CryptoDataStream,
        )
    }
    assert [line.partition("(")[0] for line in shown] == list(names)
    for line in shown:
        name, url = re.fullmatch(r'(\w+)\(\*keys, url_override="(.*)"\)', line).groups()  # type: ignore[union-attr]  # a line that does not match fails the test
        made = names[name]("ANY-KEY", "any-secret", url_override=url)
        if isinstance(made, TradingClient):
            made._session.trust_env = False
            account = made.get_account()
            assert not isinstance(account, dict)
            assert account.cash == "100000"


def test_the_admin_port_says_what_can_be_asked(venue: VenueProcess) -> None:
    """Each request with a sentence, for a browser and for a program."""
    rows = _get(venue.admin).json()["requests"]
    asked = {row["request"] for row in rows}
    assert {"POST /time", "POST /symbols/SYMBOL/halt", "POST /accounts/KEY/reset", "DELETE /faults/ID"} <= asked
    assert all(row["does"].endswith((".", "?")) for row in rows)
    text = unescape(_get(venue.admin, **BROWSER).text)
    assert all(row["request"] in text for row in rows)
