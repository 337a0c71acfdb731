"""Plain data, exactly: what a strategy's state may be made of, as bytes and back.

None, bool, int, float, str, bytes, Decimal, list, tuple, and dict with text or int keys. Floats are written bit for
bit, Decimals digit for digit, dicts in their order. Anything else is refused with its place: a set has no order, so
the same state would not always be the same bytes, and an object of the user's own would come back as something else.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from holdfast.model.errors import DataError

_DECIMAL, _TUPLE, _BIG = 1, 2, 3
_INT64 = range(-(1 << 63), 1 << 64)
_KINDS = "None, bool, int, float, str, bytes, Decimal, list, tuple, and dict with text or int keys"
_encoder = msgspec.msgpack.Encoder()


def to_bytes(value: object) -> bytes:
    """Plain data in its written form.

    Raises:
        DataError: Something in it is no plain data; names the place and what may be used.
    """
    return _encoder.encode(_freeze(value, "state"))


def from_bytes(data: bytes) -> Any:
    """What ``to_bytes`` wrote.

    Raises:
        DataError: The bytes are not what it writes.
    """
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, ArithmeticError) as error:
        message = f"not plain data: {error}"
        raise DataError(message) from None


def _freeze(value: Any, place: str) -> Any:
    if value is None or isinstance(value, bool | bytes):
        return value
    # Subclasses (an enum's member, a number of numpy's) are written as what they are at heart.
    if isinstance(value, int):
        number = int(value)
        return number if number in _INT64 else msgspec.msgpack.Ext(_BIG, str(number).encode())
    if isinstance(value, float):
        return float(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Decimal):
        return msgspec.msgpack.Ext(_DECIMAL, str(value).encode())
    if isinstance(value, list):
        return [_freeze(item, f"{place}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, tuple):
        return msgspec.msgpack.Ext(_TUPLE, _encoder.encode([_freeze(v, f"{place}[{i}]") for i, v in enumerate(value)]))
    if isinstance(value, dict) and all(isinstance(key, str | int) for key in value):
        return {_freeze(key, place): _freeze(item, f"{place}[{key!r}]") for key, item in value.items()}
    message = f"{place} is a {type(value).__name__}; a state is made of {_KINDS}"
    raise DataError(message)


def _thaw(code: int, data: memoryview) -> Any:
    content = bytes(data)
    if code == _TUPLE:
        return tuple(_decoder.decode(content))
    return int(content) if code == _BIG else Decimal(content.decode())


_decoder = msgspec.msgpack.Decoder(ext_hook=_thaw)
