"""Every exception that Holdfast raises on purpose.

    HoldfastError                  the root: catch this to catch all of ours
    ├── ConfigurationError         a setting is missing or wrong; nothing was started
    ├── DataError                  market data cannot be read; names file, line and reason
    ├── UnknownSymbolError         the venue does not know the symbol
    ├── UnknownLimitError          the throttler was asked for a limit that it does not have
    ├── OrderError                 the caller did something with an order that cannot be done
    │   ├── DuplicateOrderError    the client order id is tracked already
    │   ├── OrderBlockedError      a guard refused; carries the verdict
    │   └── OrderDroppedError      it never left this process; carries the reason
    ├── BrokerError                the venue's side of a conversation; see its three children
    │   ├── BrokerRefusedError     a definite "no": the request was not carried out; its kinds say what to do
    │   │   ├── BrokerAuthError        to our keys: tell the operator
    │   │   ├── RateLimitedError       too many requests: come back later
    │   │   ├── NotFoundError          the venue has no such order, position, asset or address
    │   │   ├── InsufficientFundsError    money or quantity is short: ask for less
    │   │   ├── WashTradeError         it could trade against an order of our own: cancel that first
    │   │   ├── NotPermittedError      the account, its plan or the asset does not allow it
    │   │   ├── InvalidRequestError    it breaks a rule of the venue: change it
    │   │   └── OrderNotOpenError      the order is closed: nothing to cancel or to replace
    │   └── OutcomeUnknownError    no verdict: the request may or may not have been carried out
    │       └── MalformedMessageError   (holdfast.brokers) the venue said something that cannot be read
    ├── JournalError               the log cannot be written or read; the bot stops
    │   ├── JournalDamagedError    a record is missing or not what was written; names the place
    │   └── JournalOwnedError      another process owns the journal
    ├── StrategyError              the user's strategy raised; names the strategy and the place
    ├── VenueError                 the built-in venue cannot start or serve
    ├── SimulationError            (holdfast.testing) a simulation cannot go on
    └── InvariantError             a bug of ours: state is void, stop, the journal recovers

Classes are named for what to do next, not for where they come from: refused means
done, unknown means look it up, configuration means tell the operator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from holdfast.model.enums import Outcome

if TYPE_CHECKING:
    from holdfast.model.signals import Verdict


class HoldfastError(Exception):
    """The root of all exceptions raised by Holdfast on purpose."""


class ConfigurationError(HoldfastError):
    """A setting is missing or wrong. The message names the key and what was expected."""


class DataError(HoldfastError):
    """Market data cannot be used. The message names the file, the line and the reason."""


class UnknownSymbolError(HoldfastError):
    """The venue does not know this symbol."""


class UnknownLimitError(HoldfastError, KeyError):
    """The throttler has no limit of that name."""

    def __str__(self) -> str:
        # KeyError would show the message in quotes.
        return Exception.__str__(self)


class OrderError(HoldfastError):
    """The caller asked for something that cannot be done with this order."""


class DuplicateOrderError(OrderError):
    """A client order id was used for a second order."""


class OrderBlockedError(OrderError):
    """A guard refused the signal, so there is no order."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(f"{verdict.guard}: {verdict.reason}")
        self.verdict = verdict


class OrderDroppedError(OrderError):
    """The order never left this process: its deadline had passed, or trading was halted."""


class BrokerError(HoldfastError):
    """Something went wrong between us and the venue.

    Args:
        message: What happened, in one sentence.
        status: The HTTP status, where there was one.
        code: The venue's own error code, where it gave one.
        request_id: The venue's ``X-Request-ID``, for its support.
        retry_after_seconds: The venue's ``Retry-After``, where it gave one.
        outcome: How the request ended, more exactly than the class says; default: what the class says.
    """

    default_outcome: ClassVar[Outcome] = Outcome.NO_ANSWER

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: int | None = None,
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
        outcome: Outcome | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds
        self.outcome = outcome or self.default_outcome


class BrokerRefusedError(BrokerError):
    """The venue gave a definite "no": the request was not carried out."""

    default_outcome = Outcome.REFUSED


class BrokerAuthError(BrokerRefusedError):
    """The venue refused our keys."""


class RateLimitedError(BrokerRefusedError):
    """Too many requests: it was not carried out, and may be asked for again later."""

    default_outcome = Outcome.RATE_LIMITED


class NotFoundError(BrokerRefusedError):
    """The venue says that it has no such thing: an order, a position, an asset, an address."""


class InsufficientFundsError(BrokerRefusedError):
    """The account has not enough money, shares or coins for it."""


class WashTradeError(BrokerRefusedError):
    """It could have traded against an open order of the same account."""


class NotPermittedError(BrokerRefusedError):
    """The account, its data plan or the asset does not allow it; sending it again changes nothing."""


class InvalidRequestError(BrokerRefusedError):
    """The request breaks a rule of the venue: a field, an increment, a size, a combination."""


class OrderNotOpenError(BrokerRefusedError):
    """The order is closed already, so there is nothing to cancel or to replace."""


class OutcomeUnknownError(BrokerError):
    """There is no verdict: the request may or may not have been carried out."""


class JournalError(HoldfastError):
    """The journal cannot be written or read. Trading stops: the kernel may not outrun its log."""


class JournalDamagedError(JournalError):
    """A record is missing, or is not what was written.

    Args:
        message: What and where, in one sentence.
        seq: The record's number.
        kind: Its kind in words; empty where there is no record.
        reason: What is wrong with it.
    """

    def __init__(self, message: str, seq: int, kind: str, reason: str) -> None:
        super().__init__(message)
        self.seq = seq
        self.kind = kind
        self.reason = reason


class JournalOwnedError(JournalError):
    """Another live process owns this journal."""


class StrategyError(HoldfastError):
    """The user's strategy raised, or cannot be loaded. Names the strategy and the place."""


class VenueError(HoldfastError):
    """The built-in venue cannot start or cannot serve."""


class InvariantError(HoldfastError):
    """Something that cannot be true was true. A bug of ours: stop and recover from the journal."""


def invariant(condition: object, message: str) -> None:
    """Raise InvariantError unless the condition holds. Unlike ``assert`` it survives ``python -O``."""
    if not condition:
        raise InvariantError(message)
