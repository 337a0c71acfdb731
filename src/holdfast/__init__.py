"""Holdfast: a trading runtime for Alpaca, whose guards fail closed and whose books are checked."""

__version__ = "0.1.0"
