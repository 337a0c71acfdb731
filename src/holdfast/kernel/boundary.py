"""The boundary to the user's code: whatever a strategy raises leaves the kernel as one clear sentence."""

from __future__ import annotations

import traceback

from holdfast.model.errors import StrategyError
from holdfast.strategies import Strategy


def tell(strategy: Strategy, method: str, *arguments: object) -> None:
    """Call a method of a strategy.

    Raises:
        StrategyError: The strategy raised.
    """
    try:
        getattr(strategy, method)(*arguments)
    except StrategyError:
        raise
    except (Exception, SystemExit) as error:
        raise strategy_error(strategy, method, error) from error


def strategy_error(strategy: Strategy, method: str, error: BaseException) -> StrategyError:
    """What a strategy raised, with its name and the place; a failure that was named already stays as it is."""
    if isinstance(error, StrategyError):
        return error
    last = traceback.extract_tb(error.__traceback__)[-1]
    return StrategyError(
        f"strategy {strategy.name} raised {type(error).__name__} in {method} ({last.filename}:{last.lineno}): {error}"
    )
