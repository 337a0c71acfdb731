"""Names of a package that load with their first use: whoever does not use them should not wait for what they need.

A package's ``__init__`` imports what is light, and says of the rest where it is:

    if TYPE_CHECKING:
        from holdfast.model.series import BarSeries
    else:
        __getattr__ = later(__name__, {"BarSeries": "series"})

Type checkers and the import contracts read the first half, Python runs the second.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def later(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's ``__getattr__``.

    Args:
        package: Its ``__name__``.
        modules: By the name of what is loaded later, the module of the package that it is in.
    """

    def get(name: str) -> Any:
        if name not in modules:
            message = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(message)
        found = getattr(importlib.import_module(f"{package}.{modules[name]}"), name)
        setattr(sys.modules[package], name, found)  # from now on it is an attribute like any other
        return found

    return get
