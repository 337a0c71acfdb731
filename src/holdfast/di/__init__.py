"""Wiring: configuration in, a running system out."""

from typing import TYPE_CHECKING

from holdfast.model.later import later

if TYPE_CHECKING:
    from holdfast.di.config import Config, load
    from holdfast.di.container import Container
else:
    __getattr__ = later(__name__, {"Config": "config", "Container": "container", "load": "config"})

__all__ = ["Config", "Container", "load"]
