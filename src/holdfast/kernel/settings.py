"""What the kernel may be told: durations in clock time, and how to treat what is not ours."""

from __future__ import annotations

import msgspec

from holdfast.model.enums import Foreign
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_SECOND


class KernelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Durations are nanoseconds of clock time.

    Attributes:
        submit_deadline: An opening order that has not left this long after it was handed to the sender is dropped.
        lookup_grace: "The venue does not have it" is evidence only this long after the order became unknown, counted
            while the order stream is up: a request may still be on its way.
        lookup_interval: An unknown order is asked for again after this long; each further time twice as long ...
        lookup_interval_most: ... but not longer.
        unknown_alert_after: People are told again when an outcome is still unknown after this long.
        cancel_timeout: A cancel without the venue's word is followed by a look-up and a second request after this
            long; each further time twice as long ...
        cancel_interval_most: ... but not longer.
        cancel_alert_after: People are told when the venue's word on a cancel has not come after this long.
        open_order_interval: An order that stays open is looked up this often, in case its closing word got lost.
        recheck_after: A difference between our books and the venue's is reported only if it is still there this
            much later: for a few seconds REST views disagree in the best of health.
        foreign: How to treat orders and positions that are not ours.
        drift_after: A difference is reported once two looks at least this far apart, and all between them, found the
            same. Alpaca's views of orders and positions were seen to disagree for ten seconds.
        reconcile_interval: The books are compared when nothing else asked for it this long; 0 is never, as in a
            backtest and in lock-step (see ``holdfast.kernel.looks``).
        full_pass_interval: A look goes this far back when the last one that did is this old.
        mute_after: What REST shows, and the user stream has not told of this long after it happened, proves that the
            stream is mute; 0 where no stream can be.
    """

    submit_deadline: int = 5 * NS_PER_SECOND
    lookup_grace: int = 10 * NS_PER_SECOND
    lookup_interval: int = 2 * NS_PER_SECOND
    lookup_interval_most: int = 30 * NS_PER_SECOND
    unknown_alert_after: int = 60 * NS_PER_SECOND
    cancel_timeout: int = 10 * NS_PER_SECOND
    cancel_interval_most: int = 300 * NS_PER_SECOND
    cancel_alert_after: int = 60 * NS_PER_SECOND
    open_order_interval: int = 60 * NS_PER_SECOND
    recheck_after: int = 5 * NS_PER_SECOND
    drift_after: int = 10 * NS_PER_SECOND
    reconcile_interval: int = 0
    full_pass_interval: int = NS_PER_DAY
    mute_after: int = 0
    foreign: Foreign = Foreign.ALERT
