"""The effects on what leaves on a stream: one ``Outlet`` for each connection, between what is said and the wire.

An outlet is handed encoded messages and gives back what is to be sent in their place. Where no rule is about its stream
it is not asked at all. A message of market data is one element of a frame's array; the frame keeps its order.

Answers to the client's own words (authorisation, subscriptions, errors) are left alone, unless a rule names their kind.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from holdfast.venue.faults.board import FaultBoard, Standing
from holdfast.venue.faults.pending import PendingCancels
from holdfast.venue.faults.rules import CONNECTION_EFFECTS, Rule, Target, has_fields, matches

_CONTROL: Final = frozenset({"authorization", "listening", "error", "success", "subscription", ""})
#: What the lock-step protocol counts on each stream.
_COUNTED: Final[dict[str, Callable[[str], bool]]] = {
    "trade": lambda kind: kind not in _CONTROL,
    "data": lambda kind: kind == "b",
}


class Outlet:
    """One connection.

    Args:
        board: The rules.
        target: Which stream it is.
        packed: MessagePack instead of JSON.
        key: The key id of its account, once known; empty before.
        is_ready: Whether the client has what it asked for: it listens, or is subscribed.
        pending: Orders that are shown as pending_cancel.

    Attributes:
        target: Which stream it is.
        cut: The connection is to be cut after what was given back last.
        muted: Nothing more is delivered.
        skew: How many more (or fewer) counted messages left than were handed in.
        later: Called with a delay (real seconds) and something to do then.
        post: Sends an encoded frame at another time than in answer to ``pass_on``.
    """

    def __init__(
        self,
        board: FaultBoard,
        target: Target,
        *,
        packed: bool = False,
        key: Callable[[], str],
        is_ready: Callable[[], bool],
        pending: PendingCancels,
    ) -> None:
        self._board = board
        self.target: Target = target
        self._packed = packed
        self.key = key
        self._is_ready = is_ready
        self._pending = pending
        self._displaced: list[tuple[bytes, str]] = []
        self._waiting: list[bytes] | None = None
        self._considered: dict[str, None] = {}
        self.cut = False
        self.muted = False
        self.skew = 0
        self.later: Callable[[float, Callable[[], None]], object] = lambda _, do: do()
        self.post: Callable[[bytes], None] = lambda _: None

    @property
    def is_concerned(self) -> bool:
        """Whether messages have to be passed through here at all."""
        return (
            self._board.concerns(self.target)
            or self.muted
            or bool(self._displaced)
            or self._waiting is not None
            or (self.target == "trade" and bool(self._pending))
        )

    # --- Connections as such -----------------------------------------------------------------------------------

    def strike_connection(self) -> None:
        """Let the rules about whole connections strike, each once, if the client is ready."""
        if not self._is_ready():
            return
        for standing in self._board.rules(self.target):
            rule = standing.rule
            if rule.effect not in CONNECTION_EFFECTS or rule.waits_for_message or standing.id in self._considered:
                continue
            if matches(rule.account, self.key()):
                self._considered[standing.id] = None
                if self._board.strikes(standing):
                    self.cut = self.cut or rule.effect == "cut"
                    self.muted = self.muted or rule.effect == "mute"

    def seconds_held(self) -> float:
        """How long the place of this connection stays taken after its end (real seconds)."""
        for standing in self._board.rules(self.target):
            rule = standing.rule
            if rule.effect == "half_open" and matches(rule.account, self.key()) and self._board.strikes(standing):
                return float(rule.option("seconds"))
        return 0.0

    def hold_back(self) -> None:
        """Keep everything until ``resume``."""
        self._waiting = self._waiting or []

    def resume(self) -> None:
        """Send what was kept."""
        frames, self._waiting = self._waiting or [], None
        for frame in frames:
            self.post(frame)

    # --- Messages ----------------------------------------------------------------------------------------------

    def pass_on(self, frame: bytes) -> list[bytes]:
        """What to send in place of a frame, in order."""
        if self._waiting is not None:
            self._waiting.append(frame)
            return []
        if self.target == "data":
            sent = self._frames([msgspec.Raw(part) for part in self._split(frame)])
        else:
            sent = [bytes(part) for part, _ in self.pass_elements([frame])]
        self.strike_connection()
        return sent

    def pass_elements(self, elements: Sequence[bytes]) -> list[tuple[bytes, bool]]:
        """What to send in place of single messages, each with whether it is still well formed."""
        passed: list[tuple[bytes, bool]] = []
        for element in elements:
            value = self._decode(element)
            kind = self._kind(value)
            if self.target == "trade" and self._pending:
                shown = self._pending.show(value)
                if shown != value:
                    value, element = shown, self._encode(shown)  # noqa: PLW2901 - the message as clients see it
            before = len(passed)
            if self.cut:
                self._count(kind, -1)
                continue
            passed += self._through(element, value, kind)
            if self.muted:
                del passed[before:]
                self._count(kind, -1)
        return passed

    def _through(self, element: bytes, value: Any, kind: str) -> list[tuple[bytes, bool]]:
        sent = [(element, True)]
        moved = False
        for standing in self._board.rules(self.target):
            rule = standing.rule
            if self.muted or not self._meant(rule, value, kind) or not self._board.strikes(standing):
                continue
            if rule.effect == "reordered":
                moved = True
            sent = self._struck(standing, sent, value, kind)
        if moved and sent:
            self._displaced += [(part, kind) for part, _ in sent]
            self._count(kind, -len(sent))
            return []
        if self._displaced and sent and kind not in _CONTROL:
            for part, was in self._displaced:
                sent.append((part, True))
                self._count(was, 1)
            self._displaced.clear()
        return sent

    def _struck(
        self, standing: Standing, sent: list[tuple[bytes, bool]], value: Any, kind: str
    ) -> list[tuple[bytes, bool]]:
        """What one rule makes of a message. A cut that comes after the message lets it pass."""
        rule = standing.rule
        match rule.effect:
            case "lost":
                self._count(kind, -len(sent))
                return []
            case "duplicated":
                self._count(kind, len(sent))
                return [*sent, *sent]
            case "malformed":
                self._count(kind, -len(sent))
                return [(part[: max(1, len(part) // 2)], False) for part, _ in sent]
            case "alter":
                altered = self._encode(with_members(value, rule.option("set"), self._root(value)))
                return [(altered, True) for _ in sent]
            case "cut":
                self.cut = True
                if rule.option("executed"):
                    return sent
                self._count(kind, -len(sent))
                return []
            case "mute":
                self.muted = True
                return sent
            case "delay":
                for part, _ in sent:
                    self._count(kind, -1)
                    self.later(float(rule.option("seconds")), self._send_later(part, kind))
                return []
            case _:
                return sent

    def _send_later(self, part: bytes, kind: str) -> Callable[[], None]:
        def send() -> None:
            if not self.muted and not self.cut:
                self._count(kind, 1)
                for frame in self._frames_of([(part, True)]):
                    self.post(frame)

        return send

    def _meant(self, rule: Rule, value: Any, kind: str) -> bool:
        if rule.effect == "half_open" or (rule.effect in CONNECTION_EFFECTS and not rule.waits_for_message):
            return False
        if kind in _CONTROL and rule.kind != kind:
            return False
        inner = self._inner(value)
        return (
            matches(rule.kind, kind)
            and matches(rule.account, self.key())
            and (rule.client_order_id is None or fnmatch.fnmatchcase(_client_id(inner), rule.client_order_id))
            and has_fields(inner, rule.fields)
        )

    def _count(self, kind: str, change: int) -> None:
        counted = _COUNTED.get(self.target)
        if counted is not None and counted(kind):
            self.skew += change

    # --- Forms -------------------------------------------------------------------------------------------------

    def _kind(self, value: Any) -> str:
        if not isinstance(value, dict):
            return ""
        if self.target == "data":
            return str(value.get("T", ""))
        if self.target == "events":
            return str(self._inner(value).get("details", {}).get("execution_type", ""))
        stream = value.get("stream")
        return str(self._inner(value).get("event", "")) if stream == "trade_updates" else str(stream or "error")

    def _root(self, value: Any) -> str | None:
        return "data" if self.target == "trade" and isinstance(value, dict) and "data" in value else None

    def _inner(self, value: Any) -> Any:
        """What paths are relative to: the ``data`` of a trade update, else the message."""
        root = self._root(value)
        return value if root is None else value[root]

    def _decode(self, element: bytes) -> Any:
        return msgspec.msgpack.decode(element) if self._packed else msgspec.json.decode(element)

    def _encode(self, value: Any) -> bytes:
        return msgspec.msgpack.encode(value) if self._packed else msgspec.json.encode(value)

    def _split(self, frame: bytes) -> list[msgspec.Raw]:
        decode = msgspec.msgpack.decode if self._packed else msgspec.json.decode
        return decode(frame, type=list[msgspec.Raw])

    def _frames(self, elements: Sequence[msgspec.Raw]) -> list[bytes]:
        return self._frames_of(self.pass_elements([bytes(element) for element in elements]))

    def _frames_of(self, parts: Sequence[tuple[bytes, bool]]) -> list[bytes]:
        """Frames of market data: the well-formed messages together, each malformed one by itself."""
        if self.target != "data":
            return [part for part, _ in parts]
        frames: list[bytes] = []
        together: list[bytes] = []
        for part, well_formed in parts:
            if well_formed:
                together.append(part)
                continue
            if together:
                frames.append(self._array(together))
                together = []
            frames.append(self._array([part])[:-1] if not self._packed else self._array([part]))
        if together:
            frames.append(self._array(together))
        return frames

    def _array(self, parts: Sequence[bytes]) -> bytes:
        if self._packed:
            return msgspec.msgpack.encode([msgspec.Raw(part) for part in parts])
        return b"[" + b",".join(parts) + b"]"


def with_members(value: Any, members: dict[str, Any], root: str | None = None) -> Any:
    """A decoded message with members set by dotted path; in a list, in each of its objects."""
    if isinstance(value, list):
        return [with_members(part, members) for part in value]
    if not isinstance(value, dict):
        return value
    if root is not None:
        return {**value, root: with_members(value[root], members)}
    changed = dict(value)
    for path, wanted in members.items():
        place = changed
        *parents, last = path.split(".")
        for part in parents:
            inner = place.get(part)
            place[part] = dict(inner) if isinstance(inner, dict) else {}
            place = place[part]
        place[last] = wanted
    return changed


def _client_id(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    for name in ("order", "details"):
        part = value.get(name)
        if isinstance(part, dict):
            return str(part.get("client_order_id", ""))
    return ""
