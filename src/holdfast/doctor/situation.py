"""What the checks look at, asked for once: the configuration, who runs on the journal, what the venue answers.

Everything here reads. Nothing is tried twice: a doctor tells what is so now, and a bot has its own patience.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec

from holdfast.brokers.alpaca_endpoints import DATA_URL, check_base_url, is_loopback
from holdfast.brokers.alpaca_errors import failure_of, read_answer
from holdfast.di.companions import state_dir
from holdfast.di.config import Config
from holdfast.di.places import account_keys, trading_url
from holdfast.doctor.findings import Failed
from holdfast.journal import Owner, read_owner
from holdfast.journal.places import DatabaseUrl, Place
from holdfast.model.enums import AssetClass
from holdfast.model.errors import JournalError
from holdfast.net.tls import trusted_by
from holdfast.time import Clock, RealTimeClock

#: What a bot trades that was told no symbol.
DEFAULT_SYMBOL = "BTC/USD"
_CONNECTION = (
    "check the network, a proxy (HTTPS_PROXY), and the address in the configuration (alpaca.base_url, data_url)"
)
_KEYS = "check APCA_API_KEY_ID and APCA_API_SECRET_KEY: paper and live have different pairs, and a new pair ends the old one"


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """From where on a measure is worth a word (seconds, bytes), and how long anything may take.

    Attributes:
        skew_warning, skew_failed: The machine's clock against the venue's. Deadlines and the age of data are judged by
            ours, so seconds matter; from ten on data that is fresh looks stale.
        sync_warning, sync_failed: One flush of the disk below the journal; each order waits for one.
        free_warning, free_failed: Room below the journal. A bot on a full disk stops.
        connect, answer: Limits of one exchange with the venue.
        check: Limit of any check as a whole.
        records: How many of the newest records of a journal are verified.
    """

    skew_warning: float = 1.0
    skew_failed: float = 10.0
    sync_warning: float = 0.05
    sync_failed: float = 1.0
    free_warning: int = 1 << 30
    free_failed: int = 100 << 20
    connect: float = 5.0
    answer: float = 10.0
    check: float = 30.0
    records: int = 2_000


class Reply(NamedTuple):
    """An answer, and when it came (UTC ns of our clock)."""

    status: int
    body: Any
    content: bytes
    headers: httpx.Headers
    asked_at: int
    answered_at: int

    @property
    def middle(self) -> int:
        """The moment at which it was most likely made."""
        return (self.asked_at + self.answered_at) // 2


class Situation:
    """One examination's view of the world.

    Args:
        path: The configuration file; None where there is none.
        overrides: What the command line said.
        clock: Ours; default real time.
        thresholds: See ``Thresholds``.
        notify: Whether a test message may be sent to the alert channels.

    Attributes:
        config: Set by the check that reads it.
        venue: What the built-in venue says of itself; empty for any other.
    """

    def __init__(
        self,
        path: Path | None = None,
        overrides: Mapping[str, Any] | None = None,
        *,
        clock: Clock | None = None,
        thresholds: Thresholds | None = None,
        notify: bool = False,
    ) -> None:
        self.path, self.overrides, self.notify = path, dict(overrides or {}), notify
        self.clock: Clock = clock or RealTimeClock()
        self.thresholds = thresholds or Thresholds()
        self.venue: dict[str, Any] = {}
        self._config: Config | None = None
        self._client: httpx.AsyncClient | None = None
        self._replies: dict[str, Reply] = {}

    @property
    def config(self) -> Config:
        """The configuration; only checks that need it are asked."""
        assert self._config is not None  # noqa: S101 - the table says which checks need it
        return self._config

    @config.setter
    def config(self, config: Config) -> None:
        self._config = config

    @property
    def secrets(self) -> tuple[str, ...]:
        """What may not be shown, whoever would say it."""
        if self._config is None:
            return ()
        alpaca, status, heartbeat = self._config.alpaca, self._config.status, self._config.heartbeat
        held = [alpaca.api_key, alpaca.api_secret, self._config.polygon.api_key, status.token, heartbeat.url]
        urls = [url for found in self._config.notify.channels().values() for url in found]
        return tuple(secret.get_secret_value() for secret in held if secret is not None) + tuple(urls)

    # -- what the configuration leads to ----------------------------------------------------------

    @property
    def has_account(self) -> bool:
        """Whether anything names an account at a venue; without, paper trades on a built-in venue of its own."""
        alpaca = self.config.alpaca
        return self.config.account.mode == "live" or alpaca.api_key is not None or alpaca.base_url is not None

    @property
    def keys(self) -> tuple[str, str]:
        """Id and secret."""
        return account_keys(self.config)

    @property
    def trading(self) -> str:
        """Where orders go."""
        return check_base_url(trading_url(self.config), "alpaca.base_url")

    @property
    def data(self) -> str:
        """Where market data are asked for."""
        return check_base_url(self.config.alpaca.data_url or DATA_URL, "alpaca.data_url")

    @property
    def symbols(self) -> tuple[str, ...]:
        """Whose market data are followed."""
        return self.config.symbols or (DEFAULT_SYMBOL,)

    def symbols_of(self, kind: AssetClass) -> tuple[str, ...]:
        """Those of one kind."""
        return tuple(symbol for symbol in self.symbols if ("/" in symbol) is (kind is AssetClass.CRYPTO))

    @property
    def journal(self) -> Place:
        """Where the bot's memory is: as configured, or where it is kept by default."""
        return self.config.journal.path or state_dir() / f"alpaca-{self.config.account.mode}.journal"

    @property
    def folder(self) -> Path:
        """Where the bot writes: the folder of the journal, or of what stands beside a database."""
        journal = self.journal
        folder = state_dir() if isinstance(journal, DatabaseUrl) else journal.absolute().parent
        return self.config.journal.control.absolute().parent if self.config.journal.control else folder

    async def owner(self) -> Owner | None:
        """The running bot; None where there is none.

        Raises:
            Failed: It cannot be known.
        """
        try:
            return await asyncio.to_thread(read_owner, self.journal)
        except JournalError as error:
            raise Failed(str(error)) from None

    # -- the venue --------------------------------------------------------------------------------

    @property
    def replays(self) -> bool:
        """Whether the venue is a built-in one, whose time is its own."""
        return bool(self.venue)

    async def account(self) -> dict[str, Any]:
        """The account."""
        return self.object_of(await self.ask(self.trading, "/v2/account"), "/v2/account")

    async def ask(self, base: str, path: str, params: Mapping[str, str] | None = None, *, keys: bool = True) -> Reply:
        """GET, once; what was answered before is not asked again.

        Raises:
            Failed: There was no answer.
        """
        url = str(httpx.URL(base + path, params=dict(params or {})))
        if url not in self._replies:
            self._replies[url] = await self._get(url, path, keys=keys)
        return self._replies[url]

    def object_of(self, reply: Reply, what: str) -> dict[str, Any]:
        """The JSON object of an answer.

        Raises:
            Failed: It is an error, or something else.
        """
        self.check_status(reply, what)
        if not isinstance(reply.body, dict):
            message = f"GET {what} was answered with something that is not Alpaca's"
            raise Failed(message, _CONNECTION)
        return reply.body

    def check_status(self, reply: Reply, what: str) -> None:
        """Raises ``Failed`` for an answer that is an error."""
        if 200 <= reply.status < 300:
            return
        answer = read_answer(reply.content)
        message = f"GET {what} was answered with HTTP {reply.status}: {answer.text or 'not in the words of Alpaca'}"
        if reply.status in (401, 403) and (reply.status == 401 or answer.text.lower().startswith("forbidden")):
            raise Failed(message, _KEYS)
        if reply.status == 429:
            raise Failed(
                message, "wait a minute: another program on these keys uses up the rate limit (limits.alpaca_trading)"
            )
        if reply.status >= 500:
            raise Failed(message, "wait, and look at Alpaca's status page")
        raise Failed(message, None if answer.is_alpaca else _CONNECTION)

    async def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _get(self, url: str, what: str, *, keys: bool) -> Reply:
        if self._client is None:
            limits = self.thresholds
            self._client = httpx.AsyncClient(
                timeout=httpx.Timeout(limits.answer, connect=limits.connect),
                trust_env=not all(map(is_loopback, (self.trading, self.data))),
                follow_redirects=False,
                verify=trusted_by(self.trading, self.data),
            )
        headers = dict(zip(("APCA-API-KEY-ID", "APCA-API-SECRET-KEY"), self.keys, strict=True)) if keys else {}
        asked_at = self.clock.now_ns()
        try:
            async with asyncio.timeout(self.thresholds.answer):
                response = await self._client.get(url, headers=headers)
        except Exception as error:  # a boundary: whatever broke, nothing was learned
            failure = failure_of(error)
            if failure is None:
                raise
            message = f"GET {what} at {httpx.URL(url).host}: {failure.sentence}: {str(error) or type(error).__name__}"
            raise Failed(message, _CONNECTION) from None
        try:
            body = msgspec.json.decode(response.content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            body = None
        return Reply(response.status_code, body, response.content, response.headers, asked_at, self.clock.now_ns())
