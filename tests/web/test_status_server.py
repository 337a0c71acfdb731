"""The status API over real sockets: who may see what, and that nobody holds the bot up."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from holdfast.model.errors import ConfigurationError
from holdfast.web import StatusServer
from tests.web.example import TOKEN, Source

AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def source() -> Source:
    """A bot that stands still."""
    return Source()


@pytest.fixture
async def server(source: Source) -> AsyncIterator[StatusServer]:
    """Its status API, on a free port."""
    server = StatusServer(source, port=0, token=TOKEN)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(server: StatusServer) -> AsyncIterator[httpx.AsyncClient]:
    """A client that knows the address and not the token."""
    async with httpx.AsyncClient(base_url=server.url, timeout=5.0, trust_env=False) as client:
        yield client


async def test_status_shows_the_whole_snapshot(client: httpx.AsyncClient) -> None:
    """GET /status has every part of the bot in it."""
    answer = await client.get("/status", headers=AUTHORISED)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json().keys() >= {
        "clock",
        "throttler",
        "order_tracker",
        "protections",
        "user_stream",
        "securities",
        "positions",
        "counters",
        "trading_state",
        "mode",
    }


async def test_amounts_arrive_as_they_are(client: httpx.AsyncClient) -> None:
    """A Decimal is a string with all its digits, and a time says its zone."""
    shown = (await client.get("/status", headers=AUTHORISED)).json()

    assert shown["positions"][0]["quantity"] == "0.04300000"
    assert shown["equity"] == "100012.20"
    assert shown["clock"]["current_time"] == "2022-01-03T14:31:00Z"


async def test_what_is_shown_is_what_is_true_now(client: httpx.AsyncClient, source: Source) -> None:
    """Nothing is cached."""
    await client.get("/status", headers=AUTHORISED)
    source.shown["trading_state"] = "halted"

    assert (await client.get("/status", headers=AUTHORISED)).json()["trading_state"] == "halted"


@pytest.mark.parametrize("path", ["/status", "/", "/openapi.json", "/docs", "/healthz/", "//healthz", "/nowhere"])
async def test_without_the_token_nothing_is_shown(client: httpx.AsyncClient, source: Source, path: str) -> None:
    """Every path but /healthz takes the token, also one that does not exist."""
    wrong = [
        TOKEN,
        "Bearer",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Bearer {TOKEN} {TOKEN}",
        "Bearer \xe4\xf6\xfc",
    ]
    headers = [{}, *({b"Authorization": value.encode("latin-1")} for value in wrong)]
    for header in headers:
        answer = await client.get(f"{client.base_url}".rstrip("/") + path, headers=header)

        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert TOKEN not in answer.text
        assert source.asked == 0


async def test_two_authorisations_are_none(client: httpx.AsyncClient) -> None:
    """A request that says two things is not believed on either."""
    headers = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer something-else-altogether")]

    assert (await client.get("/status", headers=headers)).status_code == 401


async def test_the_scheme_is_case_insensitive(client: httpx.AsyncClient) -> None:
    """As HTTP has it."""
    assert (await client.get("/status", headers={"Authorization": f"bearer {TOKEN}"})).status_code == 200


async def test_healthz_needs_no_token(client: httpx.AsyncClient, source: Source) -> None:
    """A supervisor learns whether all is well, and nothing of what is owned."""
    healthy = await client.get("/healthz")
    source.reasons.append("the user stream has been down for 90 s")
    ill = await client.get("/healthz")

    assert (healthy.status_code, healthy.json()) == (200, {"status": "ok"})
    assert ill.status_code == 503
    assert ill.json() == {"status": "unhealthy", "reasons": ["the user stream has been down for 90 s"]}


async def test_nothing_can_be_changed(client: httpx.AsyncClient) -> None:
    """The API only reads: no method but GET is answered."""
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert (await client.request(method, "/status", headers=AUTHORISED)).status_code == 405


async def test_the_schema_is_behind_the_token(client: httpx.AsyncClient) -> None:
    """With the token a tool can read what there is; interactive pages there are none."""
    schema = (await client.get("/openapi.json", headers=AUTHORISED)).json()

    assert set(schema["paths"]) == {"/status", "/healthz"}
    assert (await client.get("/docs", headers=AUTHORISED)).status_code == 404


async def test_a_part_that_cannot_be_shown_is_an_error_of_one_request(
    client: httpx.AsyncClient, source: Source
) -> None:
    """The server answers 500 without a word of what went wrong inside, and serves the next one."""
    source.shown["securities"] = object()
    broken = await client.get("/status", headers=AUTHORISED)
    source.shown["securities"] = {}

    assert broken.status_code == 500
    assert "object" not in broken.text
    assert (await client.get("/status", headers=AUTHORISED)).status_code == 200


##### Life and death


async def test_it_stops_within_a_second_whatever_clients_do(source: Source) -> None:
    """An idle client, one that never finishes its request and one that never reads do not delay the end."""
    source.shown["securities"] = {"x": "x" * 20_000_000}
    server = StatusServer(source, port=0, token=TOKEN)
    await server.start()
    clients = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
    clients[1][1].write(b"GET /status HTTP/1.1\r\nHost: x\r\n")
    clients[2][1].write(f"GET /status HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
    await clients[2][0].readexactly(1)  # the answer is on its way, and far too long for any buffer

    started = time.monotonic()
    await server.stop()

    assert time.monotonic() - started < 1.0
    for _, writer in clients:
        writer.transport.abort()


async def test_the_port_is_free_again_after_a_stop(source: Source) -> None:
    """The same server can start again where it was, at once."""
    first = StatusServer(source, port=0, token=TOKEN)
    await first.start()
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.get(f"{first.url}/healthz")
        port = first.port
        await first.stop()
        again = StatusServer(source, port=port, token=TOKEN)
        await again.start()
        assert (await client.get(f"{again.url}/healthz")).status_code == 200
    await again.stop()


async def test_starting_or_stopping_twice_does_nothing(server: StatusServer) -> None:
    """Both can be called without knowing whether the other was."""
    port = server.port
    await server.start()
    assert server.port == port
    await server.stop()
    await server.stop()


async def test_a_port_in_use_is_one_clear_sentence(server: StatusServer, source: Source) -> None:
    """It names the port, and the process lives on."""
    second = StatusServer(source, port=server.port, token=TOKEN)

    with pytest.raises(ConfigurationError, match=rf"^port {server.port} on 127\.0\.0\.1 is in use, "):
        await second.start()


async def test_an_address_of_another_machine_is_one_clear_sentence(source: Source) -> None:
    """An address that is not ours cannot be listened on."""
    server = StatusServer(source, host="192.0.2.1", port=0, token=TOKEN, allow_remote=True)

    with pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1:0"):
        await server.start()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])  # noqa: S104 - refused, that is the point
def test_a_host_that_others_can_reach_is_refused(source: Source, host: str) -> None:
    """Unless somebody said so on purpose."""
    with pytest.raises(ConfigurationError, match="other machines can reach"):
        StatusServer(source, host=host, port=0, token=TOKEN)


async def test_remote_access_can_be_allowed_on_purpose(source: Source) -> None:
    """Then it listens everywhere, still behind the token."""
    server = StatusServer(source, host="0.0.0.0", port=0, token=TOKEN, allow_remote=True)  # noqa: S104 - what is tested
    await server.start()
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://127.0.0.1:{server.port}/status")).status_code == 401
    await server.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_needs_no_permission(source: Source, host: str) -> None:
    """Every way to say this machine."""
    assert StatusServer(source, host=host, port=0, token=TOKEN).port == 0


def test_an_address_of_the_sixth_version_has_a_url() -> None:
    """With the brackets that a URL needs."""
    assert StatusServer(Source(), host="::1", port=8787, token=TOKEN).url == "http://[::1]:8787"


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_cannot_be_one_is_refused(source: Source, port: int) -> None:
    """Before anything is started."""
    with pytest.raises(ConfigurationError, match=f"port {port} "):
        StatusServer(source, port=port, token=TOKEN)


async def test_signals_stay_the_bots(source: Source) -> None:
    """Ctrl-C belongs to whoever settles the orders, not to the status page."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    server = StatusServer(source, port=0, token=TOKEN)
    await server.start()

    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    await server.stop()


async def test_a_crowd_is_turned_away_and_the_bot_goes_on(server: StatusServer) -> None:
    """Beyond a few dozen connections the next one is told 503; when they have left, it is answered again."""
    crowd = []
    for _ in range(80):
        connection = socket.create_connection(("127.0.0.1", server.port))
        crowd.append(connection)
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{server.url}/healthz")).status_code == 503
        for connection in crowd:
            connection.close()
        async with asyncio.timeout(5):
            while (await client.get(f"{server.url}/healthz")).status_code != 200:
                pass
