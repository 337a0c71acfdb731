"""Configuration: one TOML file, the environment over it, secrets from the environment alone if you like.

    [alpaca]      api_key, api_secret, base_url, data_url, market_stream_url, feed
    [polygon]     api_key, base_url, stream_url
    [account]     mode = "paper" | "live", live_confirmed
    [strategy]    source = "module:Class" | "FILE.py:Class", symbols, params
    [risk]        the limits of holdfast.risk.RiskLimits, and modes per check
    [protections] settings by name; false leaves one out
    [limits]      rate limits by id, e.g. alpaca_trading = {limit = 200, period = 60, reserve = 0.1}
    [journal]     path, snapshot_every, control
    [status]      enabled, host, port, token, allow_remote
    [notify]      webhook URLs by channel
    market_data   "alpaca" | "massive": where live bars come from
    watch         symbols whose market data is followed although no strategy of ours trades them
    [shutdown]    open_orders = "cancel" | "leave"
    foreign       "alert" | "ignore" | "adopt": orders and positions at the venue that are not ours
    [reconcile]   how often our books are compared with the venue's, and when a stream counts as mute
    [heartbeat]   url, every, method; channel, channel_every

Environment: ``APCA_API_KEY_ID`` and ``APCA_API_SECRET_KEY`` as Alpaca's own tools read them, ``MASSIVE_API_KEY`` or
``POLYGON_API_KEY`` as Massive's do, and ``HOLDFAST_SECTION__KEY`` for everything else. The guide's dictionaries are accepted as they are.
"""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from holdfast.journal.places import DatabaseUrl, to_place
from holdfast.model import Foreign, GuardMode
from holdfast.model.errors import ConfigurationError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AlpacaConfig(_Section):
    """Where the venue is, and who we are there. Addresses left out are Alpaca's own."""

    api_key: SecretStr | None = None
    api_secret: SecretStr | None = None
    base_url: str | None = None
    data_url: str | None = None
    market_stream_url: str | None = None
    feed: Literal["iex", "sip"] = "iex"
    quotes: bool = False
    activity_stream: bool = True


class PolygonConfig(_Section):
    """Massive, which was Polygon: a source of history, and of live bars where ``market_data`` says so."""

    api_key: SecretStr | None = None
    base_url: str | None = None
    stream_url: str | None = None


class AccountConfig(_Section):
    """Whose money it is. ``live`` needs ``live_confirmed`` here and a confirmation on the command line."""

    mode: Literal["paper", "live"] = "paper"
    live_confirmed: bool = False


class StrategyConfig(_Section):
    """What trades. ``period_seconds`` is the length of its bars."""

    source: str = "holdfast.strategies:VwapMeanReversion"
    symbols: tuple[str, ...] = ()
    params: dict[str, Any] = Field(default_factory=dict)
    period_seconds: int = Field(default=60, gt=0)


def _seconds(value: object) -> object:
    """A plain number is seconds, as everywhere in this file; in the environment it comes as text."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError, OverflowError):
            return timedelta(seconds=float(value))
    return timedelta(seconds=value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class RiskConfig(_Section):
    """The limits of the pre-trade risk gate (USD, shares or coins). ``None`` (leave it out) is no limit.

    The defaults bound an account of the size that Alpaca gives to paper traders.
    """

    max_order_notional: Decimal | None = Field(default=Decimal(25_000), ge=0)
    max_order_quantity: Decimal | None = Field(default=Decimal(10_000), ge=0)
    max_position_notional: Decimal | None = Field(default=Decimal(50_000), ge=0)
    max_gross_exposure: Decimal | None = Field(default=Decimal(100_000), ge=0)
    max_open_orders: int | None = Field(default=20, ge=0)
    max_daily_loss: Decimal | None = Field(default=Decimal(2_000), ge=0)
    price_collar: float | None = Field(default=0.05, ge=0)
    max_data_age: Annotated[timedelta | None, BeforeValidator(_seconds)] = timedelta(minutes=3)
    modes: dict[str, GuardMode] = Field(default_factory=dict)


def _place(value: object) -> Path | DatabaseUrl | None:
    if value is None or isinstance(value, Path | DatabaseUrl):
        return value
    if not isinstance(value, str) or not value:
        message = "expected a file or postgresql://USER@HOST/DATABASE"
        raise ValueError(message)
    try:
        return to_place(value)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None


def _shown(value: Path | DatabaseUrl | None) -> str | None:
    """Without a password."""
    return None if value is None else str(value)


class JournalConfig(_Section):
    """Where state is kept between runs: a file, or a PostgreSQL database by its address. Without it, for this run only."""

    path: Annotated[Path | DatabaseUrl | None, PlainValidator(_place), PlainSerializer(_shown)] = None
    snapshot_every: int = Field(default=10_000, ge=0)
    control: Path | None = None

    @property
    def beside(self) -> Path | None:
        """Beside what the halt file and the liveness file stand: ``control``, or the journal's file."""
        return self.control or (self.path if isinstance(self.path, Path) else None)


class StatusConfig(_Section):
    """The status API. Port 0 takes any free one; without a token one is made."""

    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    token: SecretStr | None = None
    allow_remote: bool = False


class NotifyConfig(_Section):
    """Webhook URLs by channel (Discord's, or whatever Apprise understands)."""

    trading: tuple[SecretStr, ...] = ()
    protections: tuple[SecretStr, ...] = ()
    order_drift: tuple[SecretStr, ...] = Field(default=(), validation_alias=AliasChoices("order_drift", "order-drift"))
    throttle_warnings: tuple[SecretStr, ...] = Field(
        default=(), validation_alias=AliasChoices("throttle_warnings", "throttle-warnings")
    )
    system: tuple[SecretStr, ...] = ()

    def channels(self) -> dict[str, list[str]]:
        """URLs by the notifier's channel names."""
        fields = ("trading", "protections", "order_drift", "throttle_warnings", "system")
        urls = {field.replace("_", "-"): [url.get_secret_value() for url in getattr(self, field)] for field in fields}
        return {channel: found for channel, found in urls.items() if found}


class ShutdownConfig(_Section):
    """What happens to open orders when the bot is stopped."""

    open_orders: Literal["cancel", "leave"] = "cancel"


class ReconcileConfig(_Section):
    """How often our books are compared with the venue's, and what a stream may miss. Seconds of the clock.

    For a bot that follows a broker in time; a backtest and a session in lock-step know nothing of it.
    """

    interval_seconds: float = Field(default=30.0, ge=5)
    full_pass_seconds: float = Field(default=86_400.0, ge=3_600)
    drift_seconds: float = Field(default=10.0, ge=0)
    mute_seconds: float = Field(default=10.0, ge=2)
    quiet_periods: float = Field(default=2.5, ge=1.5)


class HeartbeatConfig(_Section):
    """Outbound heartbeats, sent every so many seconds while the bot is well: a URL that is asked, a channel that is told."""

    url: SecretStr | None = None
    every: float = Field(default=60.0, ge=1.0)
    method: Literal["GET", "POST"] = "GET"
    channel: str | None = None
    channel_every: float = Field(default=3_600.0, ge=60.0)


class ClockConfig(_Section):
    """Whose time it is: see ``holdfast.time.get_clock``. Real time where nothing is said."""

    mode: Literal["real", "backtest", "scaled"] | None = None
    start: int | datetime | date | str | None = None
    rate: float | None = Field(default=None, gt=0)


class Config(BaseSettings):
    """Everything that can be set. Frozen; build another one to change something."""

    model_config = SettingsConfigDict(
        env_prefix="HOLDFAST_", env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    alpaca: AlpacaConfig = AlpacaConfig()
    polygon: PolygonConfig = PolygonConfig()
    account: AccountConfig = AccountConfig()
    strategy: StrategyConfig = StrategyConfig()
    risk: RiskConfig = RiskConfig()
    protections: dict[str, dict[str, Any] | bool] = Field(default_factory=dict)
    limits: dict[str, dict[str, Any]] = Field(default_factory=dict)
    journal: JournalConfig = JournalConfig()
    status: StatusConfig = StatusConfig()
    notify: NotifyConfig = NotifyConfig()
    shutdown: ShutdownConfig = ShutdownConfig()
    reconcile: ReconcileConfig = ReconcileConfig()
    heartbeat: HeartbeatConfig = HeartbeatConfig()
    clock: ClockConfig = ClockConfig()
    market_data: Literal["alpaca", "massive"] = "alpaca"
    watch: tuple[str, ...] = ()
    foreign: Foreign = Foreign.ALERT

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every symbol whose market data is followed."""
        return tuple(dict.fromkeys((*self.strategy.symbols, *self.watch)))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the caller gives wins over the environment; files are read by ``load`` alone."""
        return init_settings, env_settings

    def protection_overrides(self) -> dict[str, dict[str, Any] | None]:
        """For ``create_default_protections``: seconds become durations, ``false`` leaves a protection out."""
        overrides: dict[str, dict[str, Any] | None] = {}
        for name, setting in self.protections.items():
            if isinstance(setting, bool):
                overrides[name] = {} if setting else None
                continue
            overrides[name] = {
                key: timedelta(seconds=value)
                if key.endswith(("_period", "_duration")) and isinstance(value, int | float)
                else value
                for key, value in setting.items()
            }
        return overrides


def load(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """Read a TOML file (if any), the environment over it, and ``overrides`` over both.

    Raises:
        ConfigurationError: The file is missing or not TOML, or a value is wrong; names the key and what was expected.
    """
    # Merged here, and not left to pydantic, for which a file is as good as an argument and beats the environment.
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            message = f"there is no configuration file {path}"
            raise ConfigurationError(message) from None
        except (OSError, UnicodeDecodeError) as error:
            message = f"the configuration file {path} cannot be read: {error}"
            raise ConfigurationError(message) from None
        except tomllib.TOMLDecodeError as error:
            message = f"the configuration file {path} is not TOML: {error}"
            raise ConfigurationError(message) from None
    environment = _from_environment()
    return build(_merged(_merged(values, environment), dict(overrides or {})), where=str(path) if path else "")


def build(values: Mapping[str, Any], *, where: str = "") -> Config:
    """A configuration from a dictionary, such as the guide's; what it leaves out may come from the environment.

    Raises:
        ConfigurationError: A key is unknown or a value wrong; names the key and what was expected.
    """
    try:
        return Config(**_merged(_from_environment(), values))
    except SettingsError as error:
        raise _unreadable_environment(error) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        expected = "no such setting" if first["type"] == "extra_forbidden" else first["msg"]
        source = f" in {where}" if where else ""
        message = f"configuration{source}: {key}: {expected[:1].lower()}{expected[1:]}"
        raise ConfigurationError(message) from None


# The names that the vendors' own tools read, and what they set; of two the first that is set.
_VENDORS_NAMES = (
    ("alpaca", "api_key", ("APCA_API_KEY_ID",)),
    ("alpaca", "api_secret", ("APCA_API_SECRET_KEY",)),
    ("alpaca", "base_url", ("APCA_API_BASE_URL",)),
    ("polygon", "api_key", ("MASSIVE_API_KEY", "POLYGON_API_KEY")),
)


def _from_environment() -> dict[str, Any]:
    values: dict[str, Any] = {}
    for section, key, names in _VENDORS_NAMES:
        found = next((text for name in names if (text := os.environ.get(name, "").strip())), None)
        if found is not None:
            values.setdefault(section, {})[key] = found
    try:
        return _merged(values, EnvSettingsSource(Config)())
    except SettingsError as error:
        raise _unreadable_environment(error) from None


def _unreadable_environment(error: SettingsError) -> ConfigurationError:
    return ConfigurationError(
        f"configuration in the environment: {error}; expected lists and tables as JSON, "
        """such as HOLDFAST_STRATEGY__SYMBOLS='["SPY"]'"""
    )


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        current = merged.get(key)
        merged[key] = _merged(current, value) if isinstance(current, Mapping) and isinstance(value, Mapping) else value
    return merged
