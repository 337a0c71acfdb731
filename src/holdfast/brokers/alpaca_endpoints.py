"""Where Alpaca lives, and how a base URL is read.

Every address can be replaced: the built-in venue speaks the same protocols on the loopback interface,
all of them on one port.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from holdfast.model.enums import AssetClass
from holdfast.model.errors import ConfigurationError

PAPER_URL = "https://paper-api.alpaca.markets"
LIVE_URL = "https://api.alpaca.markets"
DATA_URL = "https://data.alpaca.markets"
DATA_STREAM_URL = "wss://stream.data.alpaca.markets"

CRYPTO_LOCATION = "us"

_HTTP_OF = {"https": "https", "http": "http", "wss": "https", "ws": "http"}
_SOCKET_OF = {"https": "wss", "http": "ws", "wss": "wss", "ws": "ws"}


def check_base_url(text: str, name: str) -> str:
    """An HTTP base URL without a trailing slash or version: ``.../v2/`` is how some write it.

    Raises:
        ConfigurationError: It is not an HTTP(S) URL with a host.
    """
    return _rebuilt(text, name, _HTTP_OF, ("http", "https"))


def trade_stream_url(trading_url: str) -> str:
    """The ``trade_updates`` socket of a trading API."""
    return _rebuilt(trading_url, "base_url", _SOCKET_OF, tuple(_SOCKET_OF)) + "/stream"


def data_stream_url(asset_class: AssetClass, *, feed: str = "iex", stream_url: str = DATA_STREAM_URL) -> str:
    """The market-data socket of an asset class: one per feed for equities, one for coins."""
    path = f"/v2/{feed}" if asset_class is AssetClass.US_EQUITY else f"/v1beta3/crypto/{CRYPTO_LOCATION}"
    return _rebuilt(stream_url, "data_stream_url", _SOCKET_OF, tuple(_SOCKET_OF)) + path


def check_socket_url(text: str, name: str) -> str:
    """A whole WebSocket URL, checked.

    Raises:
        ConfigurationError: It is not a ws(s) URL with a host.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        message = f"{name} is {text!r}, expected a URL like wss://paper-api.alpaca.markets/stream"
        raise ConfigurationError(message)
    return text


def is_loopback(url: str) -> bool:
    """Whether the host is this machine: no proxy stands between, and nobody listens on the way."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def check_key(text: object, name: str) -> str:
    """A key as it may stand in a header.

    Raises:
        ConfigurationError: It is missing, or holds what no key holds. The message never shows it.
    """
    key = text.strip() if isinstance(text, str) else ""
    if not key:
        message = f"{name} is missing: expected the value that Alpaca shows when it makes a key pair"
        raise ConfigurationError(message)
    if not key.isascii() or not key.isprintable() or " " in key:
        message = f"{name} holds a space, a line break or a character that no Alpaca key has; was it copied whole?"
        raise ConfigurationError(message)
    return key


def _rebuilt(text: str, name: str, schemes: dict[str, str], accepted: tuple[str, ...]) -> str:
    try:
        parts = urlsplit(text.strip())
        is_usable = parts.scheme in accepted and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_usable = False
    if not is_usable:
        message = f"{name} is {text!r}, expected a URL like {PAPER_URL}"
        raise ConfigurationError(message)
    path = parts.path.rstrip("/").removesuffix("/v2")
    return f"{schemes[parts.scheme]}://{parts.netloc}{path}"
