"""Configuration: where values come from, what is said of bad ones, and what is never said of secrets."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from holdfast.di.config import Config, build, load
from holdfast.model import GuardMode
from holdfast.model.errors import ConfigurationError

SECRET = "PKhunter2hunter2"
GUIDE: dict[str, Any] = {"alpaca": {"api_key": SECRET, "api_secret": SECRET}, "account": {"mode": "paper"}}


def write(folder: Path, text: str) -> Path:
    """A configuration file."""
    path = folder / "holdfast.toml"
    path.write_text(text, encoding="utf-8")
    return path


def secret(value: SecretStr | None) -> str:
    """What is in it."""
    assert value is not None
    return value.get_secret_value()


##### Sources


@pytest.mark.parametrize(
    ("names", "key"),
    [
        ({}, None),
        ({"POLYGON_API_KEY": "old"}, "old"),
        ({"POLYGON_API_KEY": "old", "MASSIVE_API_KEY": "new"}, "new"),
        ({"POLYGON_API_KEY": "old", "MASSIVE_API_KEY": " "}, "old"),
        ({"POLYGON_API_KEY": "old", "HOLDFAST_POLYGON__API_KEY": "ours"}, "ours"),
    ],
)
def test_massives_key_has_two_names_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: dict[str, str], key: str | None
) -> None:
    """The new one first, ours before both; blanks are none; the environment wins over the file."""
    for name, text in names.items():
        monkeypatch.setenv(name, text)
    assert build({}).polygon == load(write(tmp_path, "")).polygon
    found = load(write(tmp_path, '[polygon]\napi_key = "of the file"')).polygon.api_key
    assert secret(found) == (key or "of the file")
    assert (build({}).polygon.api_key is None) is (key is None)


def test_a_file_is_read_with_all_its_sections(tmp_path: Path) -> None:
    """Every section of the documentation, in one file."""
    config = load(
        write(
            tmp_path,
            """
            watch = ["QQQ", "SPY"]
            [alpaca]
            api_key = "k"
            api_secret = "s"
            base_url = "http://127.0.0.1:1"
            feed = "sip"
            quotes = true
            [account]
            mode = "live"
            live_confirmed = true
            [strategy]
            source = "my.py:Mine"
            symbols = ["SPY"]
            period_seconds = 300
            params = { deviations = 2.5 }
            [risk]
            max_order_notional = "12345.67"
            max_data_age = 90
            modes = { price_collar = "observe" }
            [protections]
            cooldown_period = false
            max_drawdown = true
            stoploss_guard = { max_stoplosses = 2, lookback_period = 600, cooldown_duration = 60.5 }
            [limits]
            alpaca_trading = { limit = 100, period = 60 }
            [journal]
            path = "bot.journal"
            [status]
            port = 8080
            token = "t"
            [notify]
            trading = ["https://a"]
            order-drift = ["https://b"]
            [shutdown]
            open_orders = "leave"
            """,
        )
    )

    assert (secret(config.alpaca.api_key), config.alpaca.feed, config.alpaca.quotes) == ("k", "sip", True)
    assert (config.account.mode, config.account.live_confirmed) == ("live", True)
    assert config.symbols == ("SPY", "QQQ")
    assert config.strategy.params == {"deviations": 2.5}
    assert config.risk.max_order_notional == Decimal("12345.67")
    assert config.risk.max_data_age == timedelta(seconds=90)
    assert config.risk.modes == {"price_collar": GuardMode.OBSERVE}
    assert config.protection_overrides() == {
        "cooldown_period": None,
        "max_drawdown": {},
        "stoploss_guard": {
            "max_stoplosses": 2,
            "lookback_period": timedelta(seconds=600),
            "cooldown_duration": timedelta(seconds=60.5),
        },
    }
    assert config.limits == {"alpaca_trading": {"limit": 100, "period": 60}}
    assert config.journal.path == Path("bot.journal")
    assert config.notify.channels() == {"trading": ["https://a"], "order-drift": ["https://b"]}
    assert config.shutdown.open_orders == "leave"


def test_nothing_given_is_paper_behind_a_token_with_default_guards() -> None:
    """The safe defaults: no symbols, so nothing trades; limits are on; the status API is on this machine only."""
    config = load()

    assert config.account.mode == "paper"
    assert config.symbols == ()
    assert None not in {getattr(config.risk, name) for name in type(config.risk).model_fields if name != "modes"}
    assert (config.status.host, config.status.allow_remote) == ("127.0.0.1", False)
    assert config.shutdown.open_orders == "cancel"
    assert config.protections == {}


def test_the_environment_wins_over_the_file_and_arguments_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key by key: what one source does not name, the next one below gives."""
    path = write(tmp_path, "[risk]\nmax_open_orders = 1\nmax_order_quantity = 2\nmax_order_notional = 3\n")
    monkeypatch.setenv("HOLDFAST_RISK__MAX_ORDER_QUANTITY", "20")
    monkeypatch.setenv("HOLDFAST_RISK__MAX_ORDER_NOTIONAL", "30")
    monkeypatch.setenv("HOLDFAST_STRATEGY__SYMBOLS", '["BTC/USD"]')

    config = load(path, {"risk": {"max_order_notional": 300}})

    risk = config.risk
    found = [risk.max_open_orders, risk.max_order_quantity, risk.max_order_notional]
    assert found == [1, Decimal(20), Decimal(300)]
    assert config.strategy.symbols == ("BTC/USD",)


def test_alpacas_own_variables_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the file; and under a variable of ours, which says it more precisely."""
    monkeypatch.setenv("APCA_API_KEY_ID", "from alpaca")
    monkeypatch.setenv("APCA_API_SECRET_KEY", "hidden")
    monkeypatch.setenv("APCA_API_BASE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("HOLDFAST_ALPACA__API_SECRET", "ours")

    alpaca = load(write(tmp_path, '[alpaca]\napi_key = "from the file"\n')).alpaca

    assert (secret(alpaca.api_key), secret(alpaca.api_secret)) == ("from alpaca", "ours")
    assert alpaca.base_url == "http://127.0.0.1:1"


def test_the_guides_dictionary_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """With keys in it, or in the environment."""
    assert secret(build(GUIDE).alpaca.api_key) == SECRET

    monkeypatch.setenv("APCA_API_KEY_ID", "k")
    assert secret(build({"account": {"mode": "paper"}}).alpaca.api_key) == "k"
    assert secret(build(GUIDE).alpaca.api_key) == SECRET


##### Bad values


@pytest.mark.parametrize(
    ("values", "key", "expected"),
    [
        ({"alpca": {}}, "alpca", "no such setting"),
        ({"risk": {"max_orders": 1}}, "risk.max_orders", "no such setting"),
        ({"account": {"mode": "real"}}, "account.mode", "'paper' or 'live'"),
        ({"account": {"live_confirmed": "perhaps"}}, "account.live_confirmed", "boolean"),
        ({"alpaca": {"feed": "otc"}}, "alpaca.feed", "'iex' or 'sip'"),
        ({"alpaca": "keys"}, "alpaca", "dictionary"),
        ({"strategy": {"symbols": "SPY"}}, "strategy.symbols", "tuple"),
        ({"strategy": {"period_seconds": 0}}, "strategy.period_seconds", "greater than 0"),
        ({"risk": {"max_open_orders": -1}}, "risk.max_open_orders", "greater than or equal to 0"),
        ({"risk": {"max_order_notional": "much"}}, "risk.max_order_notional", "decimal"),
        ({"risk": {"price_collar": -0.1}}, "risk.price_collar", "greater than or equal to 0"),
        ({"risk": {"max_data_age": "soon"}}, "risk.max_data_age", "duration"),
        ({"risk": {"modes": {"price_collar": "maybe"}}}, "risk.modes.price_collar", "'off', 'observe' or 'enforce'"),
        ({"status": {"port": 70_000}}, "status.port", "less than or equal to 65535"),
        ({"notify": {"tradng": []}}, "notify.tradng", "no such setting"),
        ({"shutdown": {"open_orders": "keep"}}, "shutdown.open_orders", "'cancel' or 'leave'"),
        ({"protections": {"max_drawdown": 3}}, "protections.max_drawdown", "valid"),
        ({"clock": {"mode": "sundial"}}, "clock.mode", "'real', 'backtest' or 'scaled'"),
        ({"clock": {"speed": 2}}, "clock.speed", "no such setting"),
        ({"clock": {"rate": 0}}, "clock.rate", "greater than 0"),
        ({"watch": [1]}, "watch.0", "string"),
    ],
)
def test_a_bad_value_is_one_sentence_with_key_and_expectation(values: dict[str, Any], key: str, expected: str) -> None:
    """So that whoever reads it knows what to change, and into what."""
    with pytest.raises(ConfigurationError) as caught:
        build(values)

    sentence = str(caught.value)
    assert sentence.startswith(f"configuration: {key}")
    assert expected in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[risk]\nmax_open_orders = -1\n", r"in .*holdfast.toml: risk.max_open_orders: input should be greater"),
        ("[risk\n", r"the configuration file .*holdfast.toml is not TOML: "),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    """With the place that is wrong."""
    with pytest.raises(ConfigurationError, match=complaint):
        load(write(tmp_path, text))


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    """Missing, a folder, or no text."""
    with pytest.raises(ConfigurationError, match=r"there is no configuration file .*nowhere\.toml"):
        load(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigurationError, match=r"cannot be read: .*directory"):
        load(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path / "binary.toml")


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("HOLDFAST_RISK__MAX_OPEN_ORDERS", "many", "risk.max_open_orders: input should be a valid integer"),
        ("HOLDFAST_RISK__MAX_ORDERS", "1", "risk.max_orders: no such setting"),
        ("HOLDFAST_STRATEGY__SYMBOLS", "SPY", "expected lists and tables as JSON"),
        ("HOLDFAST_RISK", "{", "expected lists and tables as JSON"),
    ],
)
@pytest.mark.parametrize("source", ["load", "build"])
def test_a_bad_variable_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, complaint: str, source: str
) -> None:
    """As a bad value in a file is, wherever the rest comes from."""
    monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError, match=complaint):
        load() if source == "load" else build({})


def test_a_configuration_is_frozen() -> None:
    """Change it by making another one."""
    config = build(GUIDE)

    with pytest.raises(ValueError, match="frozen"):
        config.account.mode = "live"
    with pytest.raises(ValueError, match="frozen"):
        config.watch = ("SPY",)


##### Secrets


ALL_SECRETS = {
    **GUIDE,
    "status": {"token": SECRET},
    "notify": {"trading": [f"https://discord.example/{SECRET}"], "order-drift": [f"https://x/{SECRET}"]},
}


def test_secrets_are_in_no_text_of_a_configuration() -> None:
    """Neither repr nor JSON nor a dump shows one."""
    config = build(ALL_SECRETS)

    for text in (repr(config), str(config), config.model_dump_json(), json.dumps(config.model_dump(), default=str)):
        assert SECRET not in text
        assert "hunter2" not in text


@pytest.mark.parametrize(
    "flaw",
    [
        {"account": {"mode": "real"}},
        {"alpaca": {"api_key": [SECRET]}},
        {"alpaca": {"api_key": SECRET, "api_secret": {"x": SECRET}}},
        {"alpaca": {"api_key": SECRET, "secret": SECRET}},
        {"notify": {"trading": SECRET}},
        {"notify": {"trading": [{"url": SECRET}]}},
        {"status": {"token": [SECRET]}},
    ],
)
def test_no_error_shows_a_secret(flaw: dict[str, Any]) -> None:
    """Also where the secret itself is what is wrong, and in what the error was made from."""
    with pytest.raises(ConfigurationError) as caught:
        build({**ALL_SECRETS, **flaw})

    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "hunter2" not in str(caught.value.__context__)


def test_no_error_of_the_environment_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A webhook that is no JSON list is still a secret."""
    monkeypatch.setenv("HOLDFAST_NOTIFY__TRADING", f"https://discord.example/{SECRET}")

    with pytest.raises(ConfigurationError) as caught:
        load()

    assert "hunter2" not in str(caught.value)


def test_two_equal_configurations_are_equal() -> None:
    """They are values."""
    assert build(GUIDE) == build(dict(GUIDE))
    assert isinstance(build(GUIDE), Config)


def test_seconds_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """There everything is text; a number is seconds as in the file, and what is no duration is refused."""
    monkeypatch.setenv("HOLDFAST_RISK__MAX_DATA_AGE", "90.5")
    assert load().risk.max_data_age == timedelta(seconds=90.5)
    monkeypatch.setenv("HOLDFAST_RISK__MAX_DATA_AGE", "soon")
    with pytest.raises(ConfigurationError, match=r"risk\.max_data_age"):
        load()
