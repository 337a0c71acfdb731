"""docs/CONFIGURATION.md names every key that there is, and no other; and it is right about which setting wins."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from holdfast.di import load
from holdfast.di.config import Config
from holdfast.model.errors import ConfigurationError
from holdfast.net.combined import DEFAULT_LIMITS
from holdfast.risk.gate import CHECKS
from holdfast.risk.protections import create_default_protections
from tests.docs.snippets import ROOT, table_keys

PAGE = "docs/CONFIGURATION.md"
SECTIONS = {
    name: field.annotation
    for name, field in Config.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_a_section_is_described(section: str) -> None:
    """A key that is missing in the document, or stands there and nowhere else, is a complaint."""
    model = SECTIONS[section]
    assert model is not None
    described = {key.replace("-", "_") for key in table_keys(PAGE, f"`[{section}]`")}

    assert described == set(model.model_fields)


def test_every_top_level_key_has_a_heading() -> None:
    """Sections as [name], a plain key by its name."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")

    missing = [
        name for name in Config.model_fields if f"\n## `[{name}]`\n" not in text and f"\n## `{name}`\n" not in text
    ]
    assert missing == []


def test_every_guard_and_every_limit_is_named() -> None:
    """Checks, protections and rate limits by the names that the configuration takes."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    names = [check.name for check in CHECKS]
    names += create_default_protections(low_profit_symbols={}).get_all_statuses()
    names += DEFAULT_LIMITS

    assert [name for name in names if f"`{name}`" not in text] == []


def test_defaults_are_those_of_the_document() -> None:
    """The numbers of the risk gate, as an example of all."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    risk = Config().risk

    for key in (
        "max_order_notional",
        "max_position_notional",
        "max_gross_exposure",
        "max_open_orders",
        "max_daily_loss",
    ):
        assert f"| `{key}` |" in text
        assert f"`{getattr(risk, key)}`" in text.partition(f"| `{key}` |")[2].partition("\n")[0]


def test_the_environment_wins_over_the_file_and_arguments_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this order, key by key; what nobody else names stays as the file has it."""
    file = tmp_path / "c.toml"
    file.write_text('[status]\nport = 1000\nhost = "127.0.0.2"\n[alpaca]\napi_key = "file"\n', encoding="utf-8")
    monkeypatch.setenv("HOLDFAST_STATUS__PORT", "2000")
    monkeypatch.setenv("APCA_API_KEY_ID", "environment")

    config = load(file)

    assert (config.status.port, config.status.host) == (2000, "127.0.0.2")
    assert config.alpaca.api_key is not None
    assert config.alpaca.api_key.get_secret_value() == "environment"
    assert load(file, {"status": {"port": 3000}}).status.port == 3000


def test_a_list_in_the_environment_that_is_no_json_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows how a list is written."""
    monkeypatch.setenv("HOLDFAST_STRATEGY__SYMBOLS", "SPY")

    with pytest.raises(ConfigurationError, match="as JSON, such as"):
        load()
