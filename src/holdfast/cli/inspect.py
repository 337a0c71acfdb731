"""``holdfast status``: what a running bot says of itself."""

from __future__ import annotations

import httpx
import msgspec
import typer
from rich.console import Console

from holdfast.cli.state_dir import last_status_url, token_path
from holdfast.model.errors import ConfigurationError, HoldfastError
from holdfast.net.tls import trusted_by
from holdfast.web.live import render


def status(url: str | None, token: str | None, *, as_json: bool) -> None:
    """Fetch and show the status of a running bot.

    Raises:
        ConfigurationError: There is no address or no token to try.
    """
    address = url or last_status_url()
    if address is None:
        message = "no bot was started here yet: expected --url, e.g. --url http://127.0.0.1:8787"
        raise ConfigurationError(message)
    if token is None:
        try:
            token = token_path().read_text(encoding="ascii").strip()
        except OSError:
            message = f"there is no token in {token_path()}: expected --token or HOLDFAST_STATUS__TOKEN"
            raise ConfigurationError(message) from None
    try:
        response = httpx.get(
            address.rstrip("/") + "/status",
            headers={"Authorization": f"Bearer {token}"},
            timeout=5.0,
            trust_env=False,
            verify=trusted_by(address),
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        message = f"no bot answers at {address}: {error}"
        raise HoldfastError(message) from None
    if response.status_code != 200:
        reason = "it does not accept this token" if response.status_code == 401 else f"HTTP {response.status_code}"
        message = f"the bot at {address} gives no status: {reason}"
        raise HoldfastError(message)
    if as_json:
        typer.echo(response.text)
    else:
        Console().print(render(msgspec.json.decode(response.content)))
