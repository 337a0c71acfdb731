"""Where a bot's orders go, with which keys, and where its memory is: what a configuration must say, and when it may not."""

from __future__ import annotations

from urllib.parse import urlsplit

from holdfast.brokers.alpaca_endpoints import LIVE_URL, PAPER_URL
from holdfast.di.config import Config
from holdfast.journal import Journal, MemoryJournal, open_journal
from holdfast.model.errors import ConfigurationError


def account_keys(config: Config) -> tuple[str, str]:
    """Id and secret of the account's key.

    Raises:
        ConfigurationError: One is not set.
    """
    found = []
    for name, variable in (("api_key", "APCA_API_KEY_ID"), ("api_secret", "APCA_API_SECRET_KEY")):
        secret = getattr(config.alpaca, name)
        if secret is None or not secret.get_secret_value():
            message = (
                f"alpaca.{name} is not set: expected the key from Alpaca's dashboard, or {variable} in the environment"
            )
            raise ConfigurationError(message)
        found.append(secret.get_secret_value())
    return found[0], found[1]


def massive_key(config: Config) -> str:
    """The key of Massive, which was Polygon.

    Raises:
        ConfigurationError: It is not set.
    """
    secret = config.polygon.api_key
    if secret is None or not secret.get_secret_value():
        message = (
            "polygon.api_key is not set: expected the key from Massive's dashboard, or MASSIVE_API_KEY or POLYGON_API_KEY "
            "in the environment"
        )
        raise ConfigurationError(message)
    return secret.get_secret_value()


def trading_url(config: Config) -> str:
    """Where orders go. Real money needs two words, whoever gave the address: the mode, and its confirmation.

    Raises:
        ConfigurationError: The address trades real money, and not both words were said.
    """
    account = config.account
    url = config.alpaca.base_url or (LIVE_URL if account.mode == "live" else PAPER_URL)
    if account.mode == "live" and not account.live_confirmed:
        message = "account.mode is live and account.live_confirmed is not true: expected both, on purpose"
        raise ConfigurationError(message)
    if account.mode != "live" and urlsplit(url).hostname == urlsplit(LIVE_URL).hostname:
        message = f"alpaca.base_url {url} trades real money and account.mode is {account.mode}: expected mode live"
        raise ConfigurationError(message)
    return url


def configured_journal(config: Config) -> Journal:
    """The journal that is named, opened; one in memory where none is, save for real money.

    Raises:
        ConfigurationError: Real money, and no journal.
        JournalError: It cannot be opened.
    """
    if config.journal.path is not None:
        return open_journal(config.journal.path)
    if config.account.mode == "live":
        message = "journal.path is not set: expected a file or a database, for real money needs a memory that survives a crash"
        raise ConfigurationError(message)
    return MemoryJournal()
