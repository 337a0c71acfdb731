"""What an account's owner may set: the switches of ``/v2/account/configurations``.

The engine obeys those that concern orders (see ``admission``); the others are kept and told, since there is nothing here
that they could change: no options, no partnerships, no e-mail.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from holdfast.model.errors import invariant

Multiplier = Literal[1, 2, 4]


class Configuration(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The switches of one account.

    Attributes:
        fractional_trading: Whether orders for parts of shares are taken.
        no_shorting: Whether the account is long only.
        suspend_trade: Whether no new order is taken.
        max_margin_multiplier: 1 is a cash account, 2 has Reg-T margin, 4 has more of it within the day.
        disable_overnight_trading: Whether orders for extended hours rest in the night.
        ptp_no_exception_entry: Kept and told.
        trade_confirm_email: Kept and told.
        max_options_trading_level: Kept and told.
    """

    fractional_trading: bool = True
    no_shorting: bool = False
    suspend_trade: bool = False
    max_margin_multiplier: Multiplier = 2
    disable_overnight_trading: bool = False
    ptp_no_exception_entry: bool = False
    trade_confirm_email: Literal["all", "none"] = "none"
    max_options_trading_level: int | None = None


def configuration_of(multiplier: int) -> Configuration:
    """That of a new account with this multiplier."""
    invariant(multiplier in (1, 2, 4), "the margin multiplier is 1, 2 or 4")
    return msgspec.convert({"max_margin_multiplier": multiplier}, Configuration)
