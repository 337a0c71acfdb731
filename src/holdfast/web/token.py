"""The token that opens the status API: made once, kept in a file that only its owner reads.

A status page tells what somebody owns, so it is never open, also not on the loopback interface:
every process and every web page of the machine can reach that.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from holdfast.model.errors import ConfigurationError

_TOKEN_BYTES = 32
_LENGTH_MIN = 16


def generate_token() -> str:
    """A fresh token of 256 random bits, safe in a header, a URL and a shell."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def check_token(token: str) -> str:
    """The token itself, where it can serve as one.

    Raises:
        ConfigurationError: It is shorter than 16 characters, or holds one that a header cannot carry.
    """
    if len(token) < _LENGTH_MIN or not token.isascii() or not token.isprintable() or " " in token:
        message = (
            "the status token cannot be used "
            f"(expected at least {_LENGTH_MIN} printable ASCII characters without spaces; none of it is shown here)"
        )
        raise ConfigurationError(message)
    return token


def load_or_create_token(path: Path) -> str:
    """The token in a file; where there is no such file, a new one, readable by its owner only.

    Raises:
        ConfigurationError: The file cannot be read or written, or holds no usable token.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # O_EXCL: of two processes that start at once, one makes the token and the other reads it.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return check_token(path.read_text(encoding="ascii").strip())
        token = generate_token()
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(token + "\n")
    except (OSError, UnicodeDecodeError) as error:
        message = f"the status token's file {path} cannot be used: {error} (expected a readable or creatable text file)"
        raise ConfigurationError(message) from None
    return token
