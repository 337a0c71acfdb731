"""What a browser sees at ``/``: how to point each SDK at this venue, and what its admin port can do.

Programs that ask for no HTML get the same facts as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from holdfast.venue.http import Html, Route
from holdfast.venue.wire.words import Json

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}"
    "pre{background:#f4f6f8;padding:.8rem;overflow-x:auto;border-radius:6px}code,td{font-family:ui-monospace,monospace;"
    "font-size:.9rem}td{padding:.1rem 1rem .1rem 0;vertical-align:top}h2{margin-top:2rem}"
    "@media(prefers-color-scheme:dark){body{background:#14171a;color:#e6e8ea}pre{background:#22272c}a{color:#8ab4ff}}"
)

#: How to point a client at a venue: a heading, and a text in which {url} and {ws} are its addresses.
CLIENTS: Final[Sequence[tuple[str, str]]] = (
    (
        "curl",
        'curl -H "APCA-API-KEY-ID: ANY-KEY" -H "APCA-API-SECRET-KEY: any-secret" {url}/v2/account',
    ),
    (
        "alpaca-py (Python)",
        """from alpaca.data.historical import CryptoHistoricalDataClient, StockHistoricalDataClient
from alpaca.data.live import CryptoDataStream, StockDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.stream import TradingStream

keys = ("ANY-KEY", "any-secret")
TradingClient(*keys, url_override="{url}")
StockHistoricalDataClient(*keys, url_override="{url}")
CryptoHistoricalDataClient(*keys, url_override="{url}")
TradingStream(*keys, url_override="{ws}/stream")
StockDataStream(*keys, url_override="{ws}/v2/iex")
CryptoDataStream(*keys, url_override="{ws}/v1beta3/crypto/us")""",
    ),
    (
        "alpaca-trade-api (Python), and what else reads its environment",
        """export APCA_API_BASE_URL={url}
export APCA_API_DATA_URL={url}
export APCA_API_KEY_ID=ANY-KEY
export APCA_API_SECRET_KEY=any-secret""",
    ),
    (
        "Go",
        """trading := alpaca.NewClient(alpaca.ClientOpts{{APIKey: "ANY-KEY", APISecret: "any-secret", BaseURL: "{url}"}})
history := marketdata.NewClient(marketdata.ClientOpts{{APIKey: "ANY-KEY", APISecret: "any-secret", BaseURL: "{url}"}})
stocks := stream.NewStocksClient(marketdata.IEX, stream.WithBaseURL("{ws}/v2"), stream.WithCredentials("ANY-KEY", "any-secret"))""",
    ),
    (
        "JavaScript (@alpacahq/alpaca-trade-api)",
        """new Alpaca({{
  keyId: "ANY-KEY", secretKey: "any-secret",
  baseUrl: "{url}", dataBaseUrl: "{url}", dataStreamUrl: "{ws}",
}});""",
    ),
    (
        "C#",
        """class LocalVenue : IEnvironment {{
  public Uri AlpacaTradingApi => new("{url}");
  public Uri AlpacaDataApi => new("{url}");
  public Uri AlpacaStreamingApi => new("{ws}/stream");
  public Uri AlpacaDataStreamingApi => new("{ws}/v2/iex");
  public Uri AlpacaCryptoStreamingApi => new("{ws}/v1beta3/crypto/us");
  // the other members are for what this venue does not have
}}""",
    ),
    ("Holdfast", "holdfast paper --venue {url}"),
)


def trading_page(about: Json, url: str) -> Html:
    """The page of the trading port."""
    addresses = {"url": url, "ws": "ws" + url.removeprefix("http")}
    clients = "".join(f"<h3>{escape(name)}</h3><pre>{escape(text.format(**addresses))}</pre>" for name, text in CLIENTS)
    admin = escape(str(about["admin"]))
    return _page(
        "A local Alpaca",
        "<p>This is Holdfast's built-in venue. It replays recorded bars and speaks Alpaca's REST, WebSocket and "
        "server-sent-event protocols. <b>Any key pair opens an account of its own.</b> Nothing here is a real market.</p>"
        f"<h2>Now</h2>{_facts(about)}"
        f'<p>The <a href="{admin}/">admin port</a> sets the time, halts symbols, moves prices and scripts faults.</p>'
        f"<h2>Point a client at it</h2>{clients}"
        "<p>Of these, alpaca-py is what the project's tests drive. A proxy in your environment may need <code>NO_PROXY=127.0.0.1</code>.</p>",
    )


def admin_page(about: Json, routes: Sequence[Route]) -> Html:
    """The page of the admin port."""
    rows = "".join(f"<tr><td>{row['request']}</td><td>{escape(row['does'])}</td></tr>" for row in admin_rows(routes))
    return _page(
        "The admin port",
        "<p>For whoever runs this venue. Bodies and answers are JSON; what cannot be is refused in a sentence.</p>"
        f"<h2>Now</h2>{_facts(about)}<h2>Requests</h2><table>{rows}</table>"
        "<p>A lock-step driver connects to <code>/lockstep?key=KEY</code>. The whole story is in docs/VENUE.md.</p>",
    )


def admin_rows(routes: Sequence[Route]) -> list[dict[str, str]]:
    """Each request of the admin port, and what it does, from the first sentence of its handler."""
    return [
        {
            "request": f"{route.method} {_named(route.pattern)}",
            "does": (route.handler.__doc__ or "").strip().splitlines()[0],
        }
        for route in routes
    ]


def _named(pattern: str) -> str:
    """A pattern with names for its parts: the first is named by what it is one of, a further one is an id."""
    return pattern.replace("{}", _PARTS.get(pattern.split("/")[1], "ID"), 1).replace("{}", "ID")


_PARTS: Final = {"accounts": "KEY", "symbols": "SYMBOL", "faults": "ID"}


def _facts(about: Json) -> str:
    cells = "".join(f"<tr><td>{escape(name)}</td><td>{escape(_text(value))}</td></tr>" for name, value in about.items())
    return f"<table>{cells}</table>"


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _page(title: str, body: str) -> Html:
    return Html(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Holdfast venue: {title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>{body}</body></html>\n"
    )
