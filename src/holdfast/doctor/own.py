"""Checks of what is on this side of the wire: Python, the configuration, the strategy, the keys, the journal, the disk."""

from __future__ import annotations

import asyncio
import difflib
import os
import platform
import re
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holdfast
from holdfast.brokers.alpaca_endpoints import check_key, is_loopback
from holdfast.di.assembly import make_kernel, make_strategies
from holdfast.di.bar_sources import check_massive
from holdfast.di.companions import companions
from holdfast.di.config import Config, load
from holdfast.doctor.findings import Failed, NotChecked, Warned
from holdfast.doctor.situation import Situation
from holdfast.journal import JournalReader
from holdfast.journal.reader import journal_exists
from holdfast.model.enums import AssetClass
from holdfast.model.errors import DataError, HoldfastError
from holdfast.net import create_combined_throttler
from holdfast.notify import AppriseSender, SendError
from holdfast.runner.halt_file import HaltFile
from holdfast.time import sessions_for

_PYTHON_MIN = (3, 11)
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*>=\s*([0-9.]+)")
_OTHER_NAMES = (
    "ALPACA_API_KEY",
    "ALPACA_API_KEY_ID",
    "ALPACA_SECRET_KEY",
    "ALPACA_API_SECRET_KEY",
    "APCA_API_DATA_URL",
)
_APCA = (
    "APCA_API_KEY_ID, APCA_API_SECRET_KEY and APCA_API_BASE_URL are read, and HOLDFAST_SECTION__KEY for everything else"
)
_KEY_CHARACTERS_MIN = 16
_LIVE_PREFIX, _PAPER_PREFIX = "AK", "PK"
_SYNCS = 5
_OTHERS = 0o077


async def python(_: Situation) -> str:
    """Python and the libraries that Holdfast was declared to need."""
    version = platform.python_version()
    if sys.version_info < _PYTHON_MIN:
        message = f"Python {version} is older than {'.'.join(map(str, _PYTHON_MIN))}"
        raise Failed(message)
    short = sorted(_missing(metadata.requires("holdfast") or ()))
    if short:
        message = f"Python {version}, but {'; '.join(short)}"
        raise Failed(message)
    return f"Holdfast {holdfast.__version__} on Python {version}, {platform.system()} {platform.machine()}; every library is there"


def _missing(requirements: Iterable[str]) -> Iterable[str]:
    for requirement in requirements:
        text, _, marker = requirement.partition(";")
        found = _REQUIREMENT.match(text.strip())
        if found is None or marker:  # an extra, or for some platforms alone
            continue
        name, wanted = found.groups()
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield f"{name} is not installed"
            continue
        if _numbers(installed) < _numbers(wanted):
            yield f"{name} is {installed}, expected {wanted} or newer"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


async def time_zones(situation: Situation) -> str:
    """The exchange's zone and its calendar, at today."""
    now = situation.clock.now_ns()
    try:
        ZoneInfo("America/New_York")
    except ZoneInfoNotFoundError:
        message = "there is no time zone America/New_York on this machine"
        raise Failed(message) from None
    try:
        await asyncio.to_thread(sessions_for(AssetClass.US_EQUITY).at, now)
    except DataError as error:
        message = f"the exchange's calendar does not reach today: {error}"
        raise Failed(message) from None
    state = (
        "open"
        if situation.clock.is_market_hours()
        else f"closed until {situation.clock.next_open():%Y-%m-%d %H:%M} UTC"
    )
    return f"New York's zone and the exchange's calendar are there; the stock market is {state}"


async def configuration(situation: Situation) -> str:
    """The file, the environment over it, unknown keys, ranges."""
    try:
        config = situation.config = load(situation.path, situation.overrides)
        create_combined_throttler(config.limits)
        make_kernel(config, ())
        if config.market_data == "massive":
            check_massive(config, is_replayed=False)
    except HoldfastError as error:
        raise Failed(str(error)) from None
    if situation.path is not None:
        _check_readers(situation.path, config)
    where = "defaults and environment" if situation.path is None else f"{situation.path} and environment"
    return f"{where}: account.mode is {config.account.mode}, symbols {', '.join(situation.symbols)}"


def _check_readers(path: Path, config: Config) -> None:
    mode = path.stat().st_mode
    held = [secret.get_secret_value() for secret in (config.alpaca.api_secret, config.polygon.api_key) if secret]
    text = path.read_text(encoding="utf-8")
    if mode & _OTHERS and any(secret in text for secret in held):
        message = f"{path} holds a key that is secret, and other users of this machine can read it"
        raise Warned(message, f"chmod 600 {path}, or keep the keys in the environment alone")


async def environment(_: Situation) -> str:
    """Names in the environment that look like ours and that nobody reads."""
    sections = [name.upper() for name in Config.model_fields]
    known = {f"HOLDFAST_{section}" for section in sections} | {"HOLDFAST_CACHE", "HOLDFAST_HOME"}
    for name in sorted(os.environ):
        head = name.upper().partition("__")[0]
        if name.upper() in _OTHER_NAMES:
            message = f"{name} is set, and Holdfast does not read it"
            raise Warned(message, _APCA)
        if head.startswith("HOLDFAST_") and head not in known:
            near = difflib.get_close_matches(head, sorted(known), 1)
            message = f"{name} is set, and there is no such setting"
            raise Warned(message, f"did you mean {near[0]}? {_APCA}" if near else _APCA)
    read = [name for name in os.environ if name.upper().startswith(("HOLDFAST_", "APCA_"))]
    return f"{len(read)} settings in the environment, every one is read"


async def strategy(situation: Situation) -> str:
    """The strategy, made as the bot would make it."""
    config = situation.config
    try:
        found = await asyncio.to_thread(make_strategies, config)
    except HoldfastError as error:
        raise Failed(str(error)) from None
    if not found:
        message = f"strategy.symbols is empty: the bot would trade {situation.symbols[0]}"
        if config.account.mode == "live":
            raise Failed(message, "name what real money may trade: strategy.symbols, or --symbol")
        return message
    return f"{config.strategy.source} can be made, for {', '.join(config.strategy.symbols)}"


async def keys(situation: Situation) -> str:
    """Whether there is a pair, whether it can be one, and whether it is of the account that is meant."""
    config = situation.config
    if not situation.has_account:
        message = "no keys are configured: `holdfast paper` trades on the built-in venue, with the bundled sample"
        raise NotChecked(message, "for Alpaca paper, set APCA_API_KEY_ID and APCA_API_SECRET_KEY")
    try:
        key, secret = situation.keys
        check_key(key, "alpaca.api_key")
        check_key(secret, "alpaca.api_secret")
    except HoldfastError as error:
        raise Failed(str(error)) from None
    mode, kind = config.account.mode, {_LIVE_PREFIX: "live", _PAPER_PREFIX: "paper"}.get(key[:2])
    local = config.alpaca.base_url is not None and is_loopback(config.alpaca.base_url)
    if local:
        return "a pair is set; a venue on this machine takes any"
    if kind is not None and kind != mode:
        message = f"the key's id begins as those of {kind} accounts do ({key[:2]}), and account.mode is {mode}"
        raise Failed(message, f"use the {mode} account's pair, or set account.mode to what you mean")
    if len(key) < _KEY_CHARACTERS_MIN or len(secret) < _KEY_CHARACTERS_MIN:
        message = f"a key of {len(key)} and a secret of {len(secret)} characters are shorter than Alpaca's"
        raise Warned(message, "copy both whole")
    if key == secret:
        message = "the key's id and its secret are the same text"
        raise Failed(message, "the secret is the longer one, shown once, when the pair is made")
    return f"a pair is set{f', of a {kind} account by its id' if kind else ''}"


async def address(situation: Situation) -> str:
    """Where orders and questions go, and whose money that is."""
    if not situation.has_account:
        message = "no account is configured"
        raise NotChecked(message, "")
    try:
        trading, data = situation.trading, situation.data
    except HoldfastError as error:
        raise Failed(str(error)) from None
    for url in (trading, data):
        if url.startswith("http:") and not is_loopback(url):
            message = f"{url} is not encrypted, and not on this machine: the keys would travel in clear"
            raise Warned(message, "use https")
    return f"orders go to {trading}, market data come from {data}"


# -- memory -------------------------------------------------------------------------------------


async def journal(situation: Situation) -> str:
    """Whether it opens, whose it is, and whether its newest records are whole."""
    place = situation.journal
    try:
        if not await asyncio.to_thread(journal_exists, place):
            return f"there is none yet at {place}: the first run makes it"
        records, oldest = await asyncio.to_thread(_read_tail, situation)
    except (HoldfastError, OSError) as error:
        raise Failed(str(error)) from None
    owner = await situation.owner()
    what = f"{place}: {records:,} records, the newest {records - oldest:,} verified"
    return f"{what}; {'no bot runs on it' if owner is None else f'a bot runs on it ({owner})'}"


def _read_tail(situation: Situation) -> tuple[int, int]:
    with JournalReader(situation.journal) as reader:
        records = reader.last_seq
        oldest = max(0, records - situation.thresholds.records)
        for _ in reader.records(oldest):
            pass
        reader.latest_snapshot()
        for report in reader.reports:
            raise Warned(report, "the next start reads more records instead; `holdfast journal verify` reads all")
    return records, oldest


async def halt(situation: Situation) -> str:
    """Whether somebody has stopped the bot from outside."""
    try:
        file = HaltFile(situation.config.journal.beside or companions(situation.journal))
    except HoldfastError as error:
        raise NotChecked(str(error)) from None
    order = file.read()
    if order is not None:
        message = f"{file.path} says {order.sentence}"
        raise Warned(message)
    return "no halt is in force"


async def disk(situation: Situation) -> str:
    """Whether the bot can write, how much room there is, and what one flush takes."""
    limits, folder = situation.thresholds, situation.folder
    there = next(path for path in (folder, *folder.parents) if path.exists())
    place = situation.journal
    if isinstance(place, Path) and place.is_file() and not os.access(place, os.W_OK):
        message = f"{place} cannot be written by this user"
        raise Failed(message)
    try:
        free = shutil.disk_usage(there).free
        sync = await asyncio.to_thread(_sync_seconds, there)
    except OSError as error:
        message = f"nothing can be written to {there}: {error.strerror}"
        raise Failed(message) from None
    said = f"{free / 2**30:,.1f} GiB free at {there}, a flush takes {sync * 1000:.1f} ms"
    room, faster = f"make room at {there}", "keep the journal on a local SSD: each order waits for one flush"
    if free < limits.free_failed or sync >= limits.sync_failed:
        raise Failed(said, room if free < limits.free_failed else faster)
    if free < limits.free_warning or sync >= limits.sync_warning:
        raise Warned(said, room if free < limits.free_warning else faster)
    return said


def _sync_seconds(folder: Path) -> float:
    """The median of a few flushes of a file without a name, which is gone when it is closed."""
    found = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(bytes(4096))
            began = time.perf_counter()
            os.fsync(file.fileno())
            found.append(time.perf_counter() - began)
    return statistics.median(found)


# -- people -------------------------------------------------------------------------------------


async def alerts(situation: Situation) -> str:
    """Whether anybody would hear of anything; with ``notify`` each channel gets a message."""
    channels = situation.config.notify.channels()
    if not channels:
        message = "no alert channel is configured: nobody hears of a drift, a block or a lost stream"
        raise Warned(message)
    sender = AppriseSender()
    for channel, urls in channels.items():
        for number, url in enumerate(urls, 1):
            try:
                await sender.check(url)
                if situation.notify:
                    await sender.send(url, "holdfast doctor", f"a test of the channel {channel}; nothing has happened")
            except SendError as error:
                message = f"webhook {number} of notify.{channel}: {error}"
                raise Failed(message) from None
    count = sum(map(len, channels.values()))
    return f"{count} webhooks on {', '.join(channels)}: {'each took a test message' if situation.notify else 'understood, not tried'}"


async def status_port(situation: Situation) -> str:
    """Whether the status API could listen."""
    status = situation.config.status
    if not status.enabled:
        return "the status API is switched off"
    if not status.allow_remote and not is_loopback(
        f"http://{f'[{status.host}]' if ':' in status.host else status.host}"
    ):
        message = f"status.host {status.host} can be reached from other machines, and status.allow_remote is not set"
        raise Failed(message, "use 127.0.0.1, or set status.allow_remote on purpose")
    if status.port == 0:
        return "any free port will do (status.port is 0)"
    try:
        _bind(status.host, status.port)
    except OSError as error:
        owner = await situation.owner()
        if owner is not None and owner.is_here:
            return f"port {status.port} is in use; a bot runs on the journal ({owner})"
        message = f"the status API cannot listen on {status.host}:{status.port}: {error.strerror or error}"
        raise Failed(message) from None
    return f"port {status.port} is free"


def _bind(host: str, port: int) -> None:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1)
