"""Where a journal is: a file, or a schema of a PostgreSQL database named by its address."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from holdfast.model.errors import ConfigurationError

_SCHEMES = ("postgresql", "postgres")


class DatabaseUrl:
    """The address of a PostgreSQL database. Shown without its password and its options, which may hold one.

    Args:
        address: ``postgresql://user:password@host:port/database?options``, as libpq reads it.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def __str__(self) -> str:
        """What may be shown."""
        try:
            parts = urlsplit(self.address)
            user = f"{parts.username}@" if parts.username else ""
            host = parts.hostname or ""
            host = f"[{host}]" if ":" in host else host
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            return "postgresql://..."
        return f"postgresql://{user}{host}{port}{parts.path}"

    def __repr__(self) -> str:
        return f"DatabaseUrl({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatabaseUrl) and other.address == self.address

    def __hash__(self) -> int:
        return hash(self.address)


Place = Path | DatabaseUrl


def to_place(where: str | Path | DatabaseUrl) -> Place:
    """What somebody wrote, as a place.

    Raises:
        ConfigurationError: It is an address of something else.
    """
    if isinstance(where, Path | DatabaseUrl):
        return where
    scheme, found, _ = where.partition("://")
    if not found:
        return Path(where)
    if scheme not in _SCHEMES:
        message = f"a journal cannot be kept at {scheme}://...: expected a file or postgresql://USER@HOST/DATABASE"
        raise ConfigurationError(message)
    return DatabaseUrl(where)
