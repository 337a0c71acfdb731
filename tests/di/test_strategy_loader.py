"""Finding the user's strategy, and saying in one sentence why it cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from holdfast.di.strategy_loader import load_strategy
from holdfast.model.errors import ConfigurationError, StrategyError
from holdfast.strategies import VwapMeanReversion

GOOD = '''
from holdfast.strategies import Strategy


class Mine(Strategy):
    """Buys nothing."""

    def __init__(self, symbols, *, size=1):
        super().__init__(symbols)
        self.size = size


class Sulking(Strategy):
    def __init__(self, symbols):
        raise LookupError("not today")


class Bare(Strategy):
    def __init__(self, **anything):
        super().__init__(["SPY"])


class NoStrategy:
    pass


mine = Mine
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A user's file."""
    path = tmp_path / "my_strategies.py"
    path.write_text(GOOD, encoding="utf-8")
    return path


def test_a_class_of_a_file(file: Path) -> None:
    """With its symbols and parameters, under the class's name."""
    strategy = load_strategy(f"{file}:Mine", ["SPY", "QQQ"], {"size": 3})

    assert (strategy.symbols, strategy.name, vars(strategy)["size"]) == (("SPY", "QQQ"), "Mine", 3)


def test_a_file_can_be_loaded_again(file: Path) -> None:
    """A second container in the process gets its own classes; a changed file is read anew."""
    first = load_strategy(f"{file}:Mine", ["SPY"], {})
    file.write_text(GOOD.replace("size=1", "size=100"), encoding="utf-8")
    second = load_strategy(f"{file}:Mine", ["SPY"], {})

    assert (vars(first)["size"], vars(second)["size"]) == (1, 100)


def test_a_class_of_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours, or any that can be imported."""
    (tmp_path / "user_package_of_the_test.py").write_text(GOOD, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    assert isinstance(load_strategy("holdfast.strategies:VwapMeanReversion", ["SPY"], {}), VwapMeanReversion)
    assert load_strategy("user_package_of_the_test:Mine", ["SPY"], {}).name == "Mine"
    del sys.modules["user_package_of_the_test"]


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("Mine", "'Mine' is not of the form FILE.py:Class or module:Class"),
        (":Mine", "is not of the form"),
        ("FILE:", "is not of the form"),
        ("FILE:Mine.inner", "is not of the form"),
        ("FILE:Nothing", "has no subclass of Strategy named Nothing; it has .*Mine"),
        ("FILE:NoStrategy", "has no subclass of Strategy named NoStrategy"),
        ("nowhere.py:Mine", r"there is no strategy file nowhere\.py"),
        ("holdfast.nowhere:Mine", r"strategy module 'holdfast\.nowhere' cannot be found: No module named"),
        ("holdfast.time:Clock", "has no subclass of Strategy named Clock; it has no strategy"),
        ("..relative:Mine", "cannot be found|is not of the form"),
    ],
)
def test_what_cannot_be_found_is_a_mistake_of_the_configuration(file: Path, source: str, complaint: str) -> None:
    """One sentence: what was asked for, and what there is."""
    with pytest.raises(ConfigurationError, match=complaint):
        load_strategy(source.replace("FILE", str(file)), ["SPY"], {})


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"sise": 1}, "strategy Mine: its parameters do not fit: there is no 'sise'; it takes size$"),
        ({"symbols": ["QQQ"]}, "strategy Mine: its parameters do not fit: .*symbols"),
    ],
)
def test_wrong_parameters_are_named(file: Path, params: dict[str, object], complaint: str) -> None:
    """Before anything is started."""
    with pytest.raises(ConfigurationError, match=complaint):
        load_strategy(f"{file}:Mine", ["SPY"], params)


def test_a_strategy_without_parameters_says_so(file: Path) -> None:
    """And the base class, which every strategy file imports, is not offered as one of its strategies."""
    with pytest.raises(ConfigurationError, match=r"there is no 'size'; it takes none$"):
        load_strategy(f"{file}:Sulking", ["SPY"], {"size": 1})
    with pytest.raises(ConfigurationError, match=r"it has Mine, Sulking, Bare, mine$"):
        load_strategy(f"{file}:Nothing", ["SPY"], {})


def test_a_constructor_that_takes_no_symbols_is_told_what_it_needs(file: Path) -> None:
    """Python's own words count arguments that nobody sees."""
    with pytest.raises(
        ConfigurationError, match=r"strategy Bare: .* take the symbols first, as in __init__\(self, symb"
    ):
        load_strategy(f"{file}:Bare", ["SPY"], {})


def test_a_parameter_out_of_range_keeps_the_strategys_own_words() -> None:
    """It knows best what it expects."""
    with pytest.raises(ConfigurationError, match=r"deviations must be a number above 0, got -1"):
        load_strategy("holdfast.strategies:VwapMeanReversion", ["SPY"], {"deviations": -1})
    with pytest.raises(ConfigurationError, match="at least one symbol"):
        load_strategy("holdfast.strategies:VwapMeanReversion", [], {})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1 / 0\n", "raised ZeroDivisionError: division by zero"),
        ("def (:\n", "raised SyntaxError: "),
        ("import nowhere_at_all\n", "raised ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("raise SystemExit(3)\n", "raised SystemExit: 3"),
    ],
)
def test_a_file_that_raises_is_a_failure_of_the_strategy(tmp_path: Path, text: str, complaint: str) -> None:
    """The file and the exception, in one sentence; no half-made module stays behind."""
    path = tmp_path / "broken_strategy.py"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(StrategyError, match=rf"the strategy file .*broken_strategy\.py {complaint}"):
        load_strategy(f"{path}:Mine", ["SPY"], {})
    assert "holdfast_strategy_broken_strategy" not in sys.modules


def test_a_module_that_lacks_something_else_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that it could not be found itself."""
    (tmp_path / "lacking_module_of_the_test.py").write_text("import nowhere_at_all\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises((ConfigurationError, StrategyError), match="nowhere_at_all"):
        load_strategy("lacking_module_of_the_test:Mine", ["SPY"], {})


def test_a_constructor_that_raises_is_a_failure_of_the_strategy(file: Path) -> None:
    """With its name and its words."""
    with pytest.raises(StrategyError, match="strategy Sulking raised LookupError when it was made: not today"):
        load_strategy(f"{file}:Sulking", ["SPY"], {})
