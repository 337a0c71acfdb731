"""Finds the user's strategy: ``module:Class`` or ``FILE.py:Class``, with its parameters."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from holdfast.model.errors import ConfigurationError, HoldfastError, StrategyError
from holdfast.strategies import Strategy

_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def load_strategy(source: str, symbols: Sequence[str], params: Mapping[str, Any]) -> Strategy:
    """Make a strategy from its source.

    Raises:
        ConfigurationError: The source is not of that form, there is no such class, or a parameter is wrong.
        StrategyError: The module or the constructor raised.
    """
    place, _, name = source.rpartition(":")
    if not place or not name.isidentifier() or (place.startswith(".") and not place.endswith(".py")):
        message = f"strategy {source!r} is not of the form FILE.py:Class or module:Class"
        raise ConfigurationError(message)
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        candidates = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, Strategy) and value is not Strategy
        ]
        hint = f"; it has {', '.join(candidates)}" if candidates else "; it has no strategy"
        message = f"strategy {source!r}: {place} has no subclass of Strategy named {name}{hint}"
        raise ConfigurationError(message)
    try:
        return found(symbols, **params)
    except HoldfastError:
        raise
    except TypeError as error:
        message = f"strategy {name}: its parameters do not fit: {_misfit(found, params, error)}"
        raise ConfigurationError(message) from None
    except Exception as error:
        message = f"strategy {name} raised {type(error).__name__} when it was made: {error}"
        raise StrategyError(message) from error


def _misfit(strategy: type[Strategy], params: Mapping[str, Any], error: TypeError) -> str:
    """What does not fit, with the names that would, where the constructor's signature tells."""
    accepted = list(inspect.signature(strategy).parameters.values())
    if not accepted or accepted[0].kind not in _POSITIONAL:
        return "its __init__ has to take the symbols first, as in __init__(self, symbols, size=10)"
    names = [one.name for one in accepted[1:] if one.kind in _NAMED]
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in accepted)
    unknown = [] if takes_any else [name for name in params if name not in names and name != accepted[0].name]
    if not unknown:
        return str(error)
    return f"there is no {unknown[0]!r}; it takes {', '.join(names) or 'none'}"


def _load_module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        message = f"strategy module {name!r} cannot be found: {error}"
        raise ConfigurationError(message) from None
    except (Exception, SystemExit) as error:
        message = f"strategy module {name!r} raised {type(error).__name__} on import: {error}"
        raise StrategyError(message) from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        message = f"there is no strategy file {path}"
        raise ConfigurationError(message)
    module_name = f"holdfast_strategy_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        message = f"the strategy file {path} cannot be loaded"
        raise ConfigurationError(message)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        message = f"the strategy file {path} raised {type(error).__name__}: {error}"
        raise StrategyError(message) from error
    return module
