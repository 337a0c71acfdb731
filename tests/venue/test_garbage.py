"""Garbage at every port: an error and a line in the log, never a crash, never a changed book.

Part of it comes as well-formed HTTP with senseless contents, part as raw bytes that no client library would send.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.testing import VenueAdmin
from tests.venue.helpers import KEY, KEYS, SECRET, VenueProcess, limit, minutes, venues

DEEP = b"[" * 100_000
SLOW = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))

STREAMS = ("/stream", "/v2/iex", "/v2/sip", "/v1beta3/crypto/us")
POSTS = ("/v2/orders", "/v2/watchlists")
ADMIN_POSTS = (
    "/time",
    "/speed",
    "/step",
    "/symbols/BTC%2FUSD/halt",
    "/symbols/BTC%2FUSD/price",
    "/symbols/BTC%2FUSD/split",
    f"/accounts/{KEY}/reset",
    f"/accounts/{KEY}/activities",
    f"/accounts/{KEY}/busts",
    "/faults",
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
#: What an order's member may not be.
senseless: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, [], {}, "", "nonsense", -1, "1e400", "NaN", "-0.1", "0x10", "9" * 80, "\x00"]
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VenueProcess]:
    """A venue with an order and a fill in its book, whose time stands still."""
    with venues(tmp_path_factory.mktemp("garbage")) as start:
        venue = start(minutes(), speed=1.0, rate_limit=None)
        with VenueAdmin(venue.admin) as admin, venue.client() as client:
            admin.step(bars=1)
            client.post("/v2/orders", json=limit("0.1", "50000")).raise_for_status()
            admin.step(bars=1)
            client.post("/v2/orders", json=limit("0.1", "30000", client_order_id="rests")).raise_for_status()
        yield venue


@pytest.fixture(autouse=True)
def _the_book_is_unchanged(target: VenueProcess) -> Iterator[None]:
    """Whatever a test here sends: the venue lives, and nothing in its book has changed."""
    before = book(target)
    yield
    assert book(target) == before
    assert target.process.poll() is None


def book(venue: VenueProcess) -> list[Any]:
    """What must not change."""
    paths = ("/v2/orders?status=all", "/v2/positions", "/v2/account", "/v2/account/activities", "/v2/watchlists")
    with venue.client() as client, VenueAdmin(venue.admin) as admin:
        state = admin.state()
        state.pop("accounts")  # any key pair opens one
        return [*(client.get(path).json() for path in paths), state, admin.faults()]


def assert_logged(venue: VenueProcess, said: str) -> None:
    """A line of the log says so. What earlier tests left there is read away; a line that never comes is a time-out."""
    assert venue.process.stderr is not None
    while said not in venue.process.stderr.readline():
        pass


def send_raw(url: str, payload: bytes) -> bytes:
    """Send bytes and hear the answer to its end, as a client that has nothing more to say."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as connection:
        heard = b""
        with contextlib.suppress(OSError):  # the venue may cut us off in our middle
            connection.sendall(payload)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(65536):
                heard += chunk
    return heard


def head(method: str, path: str, *extra: str) -> bytes:
    """The head of a request with keys."""
    keys = [f"{name}: {value}" for name, value in KEYS.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: venue", *keys, *extra, "", ""]).encode("latin-1")


def assert_refused(answer: bytes) -> None:
    """It is an error of the client's, or nothing at all."""
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), answer[:200]


# -- HTTP with senseless contents ----------------------------------------------------------------


@SLOW
@given(member=st.sampled_from(["symbol", "qty", "side", "type", "time_in_force", "limit_price"]), value=senseless)
def test_an_order_with_a_senseless_member_is_refused(target: VenueProcess, member: str, value: Any) -> None:
    """Whatever the member is."""
    body = {**limit("0.1", "31000"), member: value}
    answer = httpx.post(target.url + "/v2/orders", json=body, headers=KEYS, trust_env=False)
    assert 400 <= answer.status_code < 500, (body, answer.text)


@SLOW
@given(path=st.sampled_from(POSTS), body=json_values)
def test_any_json_at_the_trading_port_is_refused(target: VenueProcess, path: str, body: Any) -> None:
    """It is well formed, and means nothing."""
    answer = httpx.post(target.url + path, json=body, headers=KEYS, trust_env=False)
    assert 400 <= answer.status_code < 500, (body, answer.text)
    assert answer.json()["message"]


@SLOW
@given(path=st.sampled_from(ADMIN_POSTS), body=json_values.filter(bool))
def test_any_json_at_the_admin_port_is_refused(target: VenueProcess, path: str, body: Any) -> None:
    """In a sentence."""
    answer = httpx.post(target.admin + path, json=body, trust_env=False)
    # A halt asks for nothing in its body.
    if path.endswith("/halt"):
        httpx.post(target.admin + path.replace("halt", "resume"), trust_env=False)
        return
    assert 400 <= answer.status_code < 500, (path, body, answer.text)
    assert answer.json()["message"]


@SLOW
@given(
    method=st.sampled_from(["GET", "DELETE", "PATCH", "PUT", "POST", "HEAD", "OPTIONS"]),
    path=st.text(max_size=40),
    query=st.dictionaries(st.sampled_from(["status", "limit", "after", "symbols", "start", "page_token", "x"]), st.text(max_size=20)),
    on_admin=st.booleans(),
)  # fmt: skip
def test_any_path_and_query_is_answered(
    target: VenueProcess, method: str, path: str, query: dict[str, str], *, on_admin: bool
) -> None:
    """Never with a 5xx. What cancels everything is left out."""
    where = "/v2/" + quote(path, safe="") if not on_admin else "/" + quote(path, safe="")
    answer = httpx.request(
        method, (target.admin if on_admin else target.url) + where, params=query, headers=KEYS, trust_env=False
    )
    assert answer.status_code < 500, (method, where, query, answer.text)


@pytest.mark.parametrize(
    "path",
    ["/v2/orders", "/v2/account/activities", "/v2/account/portfolio/history", "/v2/assets", "/v2/calendar",
     "/v1beta3/crypto/us/bars", "/v2/stocks/bars", "/v2/stocks/trades", "/v2/stocks/snapshots", "/v2beta1/events/activities"],
)  # fmt: skip
@SLOW
@given(data=st.data())
def test_senseless_parameters_are_refused_or_ignored(target: VenueProcess, path: str, data: st.DataObject) -> None:
    """Of every list, and of the server-sent events, whose answer would have no end."""
    names = ["status", "limit", "after", "until", "direction", "symbols", "start", "end", "timeframe", "page_token"]
    names += ["since", "since_id", "until_id", "page_size", "period", "date", "sort"]
    query = data.draw(st.dictionaries(st.sampled_from(names), st.text(min_size=1, max_size=30), min_size=1, max_size=4))
    with (
        httpx.Client(trust_env=False, timeout=20) as client,
        client.stream("GET", target.url + path, params=query, headers=KEYS) as answer,
    ):
        assert answer.status_code < 500, (path, query)


# -- bodies that are none ------------------------------------------------------------------------


@pytest.mark.parametrize("port", ["url", "admin"])
@pytest.mark.parametrize(
    "body",
    [b"{", b"\xff\xfe\x00", b"\xed\xa0\x80", DEEP, b'{"a":' * 5000, b"\x00" * 100, b"nan", b'"\\ud800"{'],
    ids=["open", "latin", "surrogate", "deep", "deeper", "zeros", "nan", "torn"],
)
def test_a_body_that_is_no_json_is_refused_and_logged(target: VenueProcess, port: str, body: bytes) -> None:
    """With a line that says where."""
    path = "/v2/orders" if port == "url" else "/faults"
    answer = httpx.post(getattr(target, port) + path, content=body, headers=KEYS, trust_env=False)
    assert (answer.status_code, answer.json()["message"]) == (422, "request body is not valid JSON")
    assert_logged(target, f"POST '{path}': request body is not valid JSON\n")


@pytest.mark.parametrize("port", ["url", "admin"])
def test_a_body_without_bounds_is_refused_and_logged(target: VenueProcess, port: str) -> None:
    """Chunked, so that nobody knows its length before."""
    path = "/v2/orders" if port == "url" else "/step"
    answer = httpx.post(getattr(target, port) + path, content=iter([b"x" * 65536] * 40), headers=KEYS, trust_env=False)
    assert answer.status_code == 413
    assert_logged(target, f"POST '{path}': request body is larger than")


# -- raw bytes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("port", ["url", "admin"])
@SLOW
@given(payload=st.binary(min_size=1, max_size=300))
def test_bytes_that_are_no_http_end_the_connection(target: VenueProcess, port: str, payload: bytes) -> None:
    """With a 400, or without a word."""
    assert_refused(send_raw(getattr(target, port), payload))


@pytest.mark.parametrize("port", ["url", "admin"])
@SLOW
@given(data=st.data())
def test_a_request_with_a_few_bytes_spoilt_does_no_harm(target: VenueProcess, port: str, data: st.DataObject) -> None:
    """The head of a real request whose order is refused, with bytes replaced anywhere."""
    body = msgspec.json.encode({**limit("0.1", "31000"), "side": "neither"})
    whole = bytearray(head("POST", "/v2/orders", f"Content-Length: {len(body)}") + body)
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    assert_refused(send_raw(getattr(target, port), bytes(whole)))


@pytest.mark.parametrize("port", ["url", "admin"])
@pytest.mark.parametrize(
    "payload",
    [
        head("POST", "/v2/orders", "Content-Length: 99999999999") + b"{",
        head("POST", "/v2/orders", "Content-Length: -1") + b"{}",
        head("POST", "/v2/orders", "Content-Length: 2", "Content-Length: 3") + b"{}",
        head("POST", "/v2/orders", "Transfer-Encoding: chunked") + b"zz\r\n{}\r\n0\r\n\r\n",
        head("POST", "/v2/orders", "Transfer-Encoding: chunked") + b"ffffffffffffffffff\r\n",
        head("POST", "/v2/orders", "Transfer-Encoding: chunked", "Content-Length: 2") + b"{}",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: 1\r\n" * 40_000 + b"\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"BREW /v2/orders HTTP/1.1\r\n\r\n",
        head("GET", "/stream", "Connection: Upgrade", "Upgrade: websocket"),
        head("GET", "/stream", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13"),
    ],
    ids=["endless", "negative", "two-lengths", "bad-chunk", "huge-chunk", "both", "long-path", "long-header",
         "many-headers", "version", "method", "no-key", "bad-key"],
)  # fmt: skip
def test_a_head_that_lies_is_refused(target: VenueProcess, port: str, payload: bytes) -> None:
    """About its length, its chunks, its version; or has no end."""
    assert_refused(send_raw(getattr(target, port), payload))


# -- WebSockets ----------------------------------------------------------------------------------


def upgraded(url: str, path: str) -> socket.socket:
    """A WebSocket whose frames we write by hand."""
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=20)
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        head("GET", path, "Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13")
    )  # fmt: skip
    heard = b""
    while b"\r\n\r\n" not in heard:
        heard += connection.recv(1)
    assert heard.startswith(b"HTTP/1.1 101"), heard
    return connection


def frame(opcode: int, payload: bytes, *, fin: bool = True, masked: bool = True) -> bytes:
    """A frame, right or wrong."""
    first = (0x80 if fin else 0) | opcode
    size = len(payload)
    length = bytes([size]) if size < 126 else bytes([126]) + size.to_bytes(2, "big") if size < 1 << 16 else b""
    length = length or bytes([127]) + size.to_bytes(8, "big")
    if not masked:
        return bytes([first]) + length + payload
    return bytes([first, length[0] | 0x80]) + length[1:] + b"\0\0\0\0" + payload


WRONG_FRAMES = {
    "not-utf8": frame(1, b"\xff\xfe\xfd"),
    "reserved": frame(3, b"x"),
    "unmasked": frame(1, b"{}", masked=False),
    "claims-much": bytes([0x81, 0xFF]) + (1 << 62).to_bytes(8, "big"),
    "loose-continuation": frame(0, b"x"),
    "fragmented-ping": frame(9, b"x", fin=False),
    "long-ping": frame(9, b"x" * 200),
    "close-with-one-byte": frame(8, b"x"),
    "close-with-odd-code": frame(8, (3).to_bytes(2, "big")),
    "two-starts": frame(1, b"{", fin=False) + frame(1, b"}"),
    "bytes": b"\x00\xff\x13\x37" * 50,
}


@pytest.mark.parametrize("path", [*STREAMS, f"/lockstep?key={KEY}"])
@pytest.mark.parametrize("wrong", list(WRONG_FRAMES))
def test_a_frame_against_the_protocol_ends_the_connection(target: VenueProcess, path: str, wrong: str) -> None:
    """Of whatever kind it is."""
    url = target.admin if path.startswith("/lockstep") else target.url
    with upgraded(url, path) as connection, contextlib.suppress(OSError):
        connection.sendall(WRONG_FRAMES[wrong])
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass


@pytest.mark.parametrize("path", STREAMS)
@SLOW
@given(
    frames=st.lists(
        st.one_of(
            st.binary(max_size=60).map(lambda data: (2, data)),
            st.text(max_size=60).map(lambda text: (1, text.encode())),
            json_values.map(lambda value: (1, msgspec.json.encode(value))),
            st.builds(
                lambda action, rest: (1, msgspec.json.encode({**rest, "action": action})),
                st.sampled_from(["auth", "authenticate", "listen", "subscribe", "unsubscribe"]),
                st.dictionaries(st.sampled_from(["key", "secret", "data", "bars", "trades", "x"]), json_values, max_size=4),
            ),
            st.just((1, DEEP)),
        ),
        min_size=1,
        max_size=5,
    ),
    signed_in=st.booleans(),
)  # fmt: skip
def test_frames_that_mean_nothing_are_answered_or_end_the_connection(
    target: VenueProcess, path: str, frames: list[tuple[int, bytes]], *, signed_in: bool
) -> None:
    """Before and after the client has signed in."""
    with upgraded(target.url, path) as connection:
        if signed_in:
            words = {"action": "auth", "key": "fuzzer", "secret": SECRET}
            connection.sendall(frame(1, msgspec.json.encode(words)))
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"".join(frame(opcode, payload) for opcode, payload in frames))
            connection.sendall(frame(8, b""))
            while connection.recv(65536):
                pass


def test_garbage_on_the_streams_is_logged(target: VenueProcess) -> None:
    """A line each, that says which stream it was."""
    for path, said in (("/stream", "trade stream"), ("/v2/iex", "market-data stream")):
        with upgraded(target.url, path) as connection:
            connection.sendall(frame(1, b"{{{ unlike anything"))
            assert_logged(target, said)
