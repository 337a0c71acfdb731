"""Moving the venue's time: step by step at a client's word, or by itself at a multiple of real time.

In lock-step one driver, on the admin port's WebSocket, says what it has received and handled and when
its next timer is due. If that is everything that was sent, the venue does one step of the replay and
says what has been sent since. So a replay runs as fast as both can, nothing waits on a wall clock, and
the bot's timers fire between the same bars as in a backtest. What a step brings is committed before
any message of it leaves, and its messages are posted before the driver's answer.

At a speed that is a number the venue's time runs so many times as fast as real time, from the moment
at which the first trade stream listens, so that nothing is missed before the client is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec

from holdfast.model.errors import DataError
from holdfast.model.timestamps import NS_PER_SECOND
from holdfast.venue.exchange import Exchange
from holdfast.venue.streams.hub import Hub
from holdfast.venue.streams.sockets import BAD_DATA, Message, Socket

_log = logging.getLogger("holdfast.venue")

DRIVER_PRESENT: Final = 4409
NOT_IN_LOCKSTEP: Final = 4400

# Steps done before other connections get their turn, when the venue has fallen behind its clock.
_STEPS_AT_ONCE: Final = 200


class Advance(msgspec.Struct, tag="advance", tag_field="op"):
    """The driver is drained: move on, but not beyond its next timer (UTC ns)."""

    updates: int
    bars: int
    next_timer: Annotated[int, msgspec.Meta(ge=0, le=1 << 62)] | None = None


class LockstepSession:
    """One driver's side of the protocol.

    Args:
        exchange: What it moves.
        hub: Says what has been sent.
        key: The key whose streams are counted.
        settle: Commits and tells.
        socket: Where answers go.
    """

    _decoder = msgspec.json.Decoder(Advance)

    def __init__(self, exchange: Exchange, hub: Hub, key: str, settle: Callable[[], None], socket: Socket) -> None:
        self._exchange = exchange
        self._hub = hub
        self._key = key
        self._settle = settle
        self._socket = socket

    def greet(self) -> None:
        """The driver has connected."""
        self._answer(advanced=False, reason="hello")

    def on_frame(self, frame: Message) -> None:
        """Handle one message of the driver."""
        try:
            text = frame.get("text")
            asked = self._decoder.decode(text if text is not None else frame.get("bytes") or b"")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            _log.warning("a frame of the lock-step driver is no message of its protocol")
            self._socket.post({"error": f"expected {{'op': 'advance', ...}}: {error}"})
            self._socket.close(BAD_DATA, "not a message of the lock-step protocol")
            return
        # Whatever was done over REST is committed and counted first.
        self._settle()
        reason = self._obstacle(asked)
        if reason is None:
            try:
                self._exchange.advance(asked.next_timer)
            except DataError as error:
                reason = str(error)  # a timer beyond what is known of the market's sessions
            self._settle()
        self._answer(advanced=reason is None, reason=reason)

    def _obstacle(self, asked: Advance) -> str | None:
        """Why the venue may not move on; None if it may."""
        account = self._exchange.account_of(self._key)
        if account is None:
            return "no account has been opened with this key"
        if not self._hub.is_listening(account):
            return "the trade stream of this key is not listening"
        if not self._hub.has_bars(account):
            return "no market-data stream of this key is subscribed to bars"
        if asked.updates != self._hub.updates_sent(account) or asked.bars != self._hub.bars_sent(account):
            return "not drained"
        if self._exchange.done and asked.next_timer is None:
            return "the recorded market has ended"
        return None

    def _answer(self, *, advanced: bool, reason: str | None) -> None:
        exchange, account = self._exchange, self._exchange.account_of(self._key)
        answer: dict[str, Any] = {
            "advanced": advanced,
            "now": exchange.now,
            "updates": 0 if account is None else self._hub.updates_sent(account),
            "bars": 0 if account is None else self._hub.bars_sent(account),
            "done": exchange.done,
        }
        if reason is not None:
            answer["reason"] = reason
        self._socket.post(answer)


class Pacer:
    """Moves the venue's time by itself.

    Args:
        exchange: What it moves.
        speed: Venue seconds per real second.
        settle: Commits and tells.
        alarm: When something besides the market is due (UTC ns); ``settle`` does it.
    """

    def __init__(
        self,
        exchange: Exchange,
        speed: float,
        settle: Callable[[], None],
        alarm: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._exchange = exchange
        self._speed = speed
        self._settle = settle
        self._alarm = alarm
        self._started = asyncio.Event()
        self._poked = asyncio.Event()
        self._awaited: int | None = None  # the moment for which ``run`` waits
        self._paused = False
        self._anchor = (0.0, 0)

    @property
    def speed(self) -> float:
        """Venue seconds per real second."""
        return self._speed

    @property
    def is_running(self) -> bool:
        """Whether the time flows."""
        return self._started.is_set() and not self._paused and not self._exchange.done

    @property
    def is_paused(self) -> bool:
        """Whether an operator has stopped the time."""
        return self._paused

    def start(self) -> None:
        """Let the time flow from here, unless it is paused; further calls do nothing."""
        if not self._started.is_set():
            self.anchor()
            self._started.set()

    def pause(self) -> None:
        """Let the time stand still. The caller settles."""
        self.catch_up()
        self.anchor()
        self._paused = True

    def go_on(self) -> None:
        """Let the time flow, whether it was paused or has not begun."""
        self._paused = False
        self.anchor()
        self._started.set()
        self._poked.set()

    def change_speed(self, speed: float) -> None:
        """Let the time flow at another speed from now on. The caller settles."""
        self.catch_up()
        self.anchor()
        self._speed = speed
        self._poked.set()

    def move_to(self, moment: int) -> None:
        """Do everything that is due by a moment (UTC ns), and be there. The caller settles.

        Raises:
            DataError: Nothing is known of the market's sessions there.
        """
        self._exchange.run_until(moment)
        self.anchor()
        self._poked.set()

    def anchor(self) -> None:
        """The time flows on from where the market is now."""
        self._anchor = (asyncio.get_running_loop().time(), self._exchange.now)

    @property
    def now(self) -> int:
        """The venue's time (UTC ns). It flows on after the market's end; before the start it is the market's."""
        now = self._exchange.now
        return max(now, self._target()) if self._started.is_set() and not self._paused else now

    def catch_up(self) -> None:
        """Do what is due by now, because someone asks. The caller settles."""
        if self.is_running:
            self._exchange.run_until(self._target())

    def look_again(self) -> None:
        """What was asked may have made something due earlier, such as the next bar's opening for a new order."""
        nearest = self._nearest()
        if nearest is not None and (self._awaited is None or nearest < self._awaited):
            self._poked.set()

    async def run(self) -> None:
        """Move the market until it ends."""
        await self._started.wait()
        exchange = self._exchange
        while (due := exchange.next_at()) is not None:
            target = self._target()
            steps = 0
            while due is not None and due <= target and steps < _STEPS_AT_ONCE:
                exchange.advance(None)
                due = exchange.next_at()
                steps += 1
            alarm = self._alarm()
            if alarm is not None and alarm <= target and (due is None or due > target):
                exchange.run_until(target)
            self._settle()
            self._awaited = self._nearest()
            wait = ((self._awaited or 0) - self._target()) / NS_PER_SECOND / self._speed
            self._poked.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if self._paused else max(wait, 0.0)):
                    await self._poked.wait()

    def _nearest(self) -> int | None:
        """When something is due next, of the market or besides it (UTC ns)."""
        return min((at for at in (self._exchange.next_at(), self._alarm()) if at is not None), default=None)

    def _target(self) -> int:
        real, venue = self._anchor
        if self._paused:
            return venue
        elapsed = asyncio.get_running_loop().time() - real
        return venue + int(elapsed * self._speed * NS_PER_SECOND)
