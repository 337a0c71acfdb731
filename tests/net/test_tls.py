"""Whom the clients trust: the world's certificates, read once, and nobody where nothing is encrypted."""

from __future__ import annotations

import ssl

import pytest

from holdfast.net.tls import trusted_by

ALPACA, VENUE = "https://paper-api.alpaca.markets", "http://127.0.0.1:8000"


@pytest.mark.parametrize("urls", [(), (ALPACA,), (VENUE, ALPACA), ("HTTP://127.0.0.1",), ("wss://a.b",), ("",)])
def test_whatever_may_be_encrypted_is_checked(urls: tuple[str, ...]) -> None:
    """By name and by certificate."""
    trusted = trusted_by(*urls)

    assert isinstance(trusted, ssl.SSLContext)
    assert (trusted.verify_mode, trusted.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert trusted.get_ca_certs()


def test_the_certificates_are_read_once() -> None:
    """To read them takes long."""
    assert trusted_by(ALPACA) is trusted_by("https://data.alpaca.markets")


def test_where_nothing_is_encrypted_nothing_is_read() -> None:
    """The venue on this machine."""
    assert trusted_by(VENUE, "http://localhost:1") is False
