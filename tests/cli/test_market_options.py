"""The options that describe a replayed market."""

from __future__ import annotations

import pytest

from holdfast.cli.market import Market, parse_params, parse_speed
from holdfast.model.errors import ConfigurationError


def test_the_sample_is_traded_as_what_it_is() -> None:
    """Its bars are those of BTC/USD; no other name makes them another market."""
    assert list(Market().load()) == ["BTC/USD"]
    assert list(Market(symbol="BTC/USD").load()) == ["BTC/USD"]
    with pytest.raises(ConfigurationError, match=r"--symbol ETH/USD needs --data: the bundled sample is BTC/USD"):
        Market(symbol="ETH/USD").load()


@pytest.mark.parametrize("symbol", ["SPY", "BRK.B", "BTC/USD", "SPY, QQQ"])
def test_a_symbol_looks_like_one(symbol: str) -> None:
    """A slip of the shell's quoting is not traded under its own name."""
    assert Market(symbol=symbol).symbols == tuple(part.strip() for part in symbol.split(","))
    for odd in ("no such!", "../SPY", "BTC/USD/EUR", "/", "SPY;QQQ"):
        with pytest.raises(ConfigurationError, match=r"is no symbol: expected one like SPY, BRK\.B or BTC/USD"):
            _ = Market(symbol=f"{symbol},{odd}").symbols


def test_symbols_are_named_once() -> None:
    """What --symbol adds to --synthetic would otherwise be left out in silence."""
    assert Market(synthetic="SPY,QQQ", symbol="SPY,QQQ").symbols == ("SPY", "QQQ")
    with pytest.raises(ConfigurationError, match="give --symbol or --synthetic, not both"):
        _ = Market(synthetic="SPY,QQQ", symbol="SPY").symbols


def test_params_are_read_as_what_they_look_like() -> None:
    """Numbers, true, false and none; everything else stays text."""
    given = ("a=1", "b=0.5", "c=true", "d=none", "e=x=y")
    assert parse_params(given) == {"a": 1, "b": 0.5, "c": True, "d": None, "e": "x=y"}
    with pytest.raises(ConfigurationError, match="expected name=value"):
        parse_params(("oops",))


@pytest.mark.parametrize("text", ["0", "-1", "fast", "inf", "nan", ""])
def test_a_speed_is_max_or_a_positive_number(text: str) -> None:
    """Anything else is refused in its own words."""
    assert parse_speed("max") == "max"
    assert parse_speed("60") == 60.0
    with pytest.raises(ConfigurationError, match="expected a positive number or max"):
        parse_speed(text)
