"""Wiring: configuration in, a running system out."""

from holdfast.di.config import Config, load
from holdfast.di.container import Container

__all__ = ["Config", "Container", "load"]
