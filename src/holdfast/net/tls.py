"""Whom HTTPS trusts, read once a process.

To read the world's certificates takes some 50 ms in which nothing else runs, and httpx does it for every client that it
makes, also for one that only speaks to a venue on this machine, without TLS.
"""

from __future__ import annotations

import functools
import ssl

import httpx


def trusted_by(*urls: str) -> ssl.SSLContext | bool:
    """What httpx takes as ``verify`` for a client of these addresses: the trusted certificates, or none where none speaks TLS."""
    return False if urls and all(url.startswith("http://") for url in urls) else _certificates()


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Those of certifi, or of ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``."""
    return httpx.create_ssl_context()
