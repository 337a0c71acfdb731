"""``holdfast certify``: the script at somebody's paper account, the same at a venue beside it, and what differs."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import typer

from holdfast.brokers.alpaca_endpoints import DATA_URL, check_base_url, is_loopback
from holdfast.certify import Difference, Plan, Recording, Run, Side, admit, clean_up, compare, last_price, make_plan
from holdfast.certify import record as to_recording
from holdfast.certify.guards import check_address, check_venue
from holdfast.certify.recording import write
from holdfast.certify.script import run_script
from holdfast.cli.logs import silence_logs, tell
from holdfast.cli.market import Market
from holdfast.cli.venue_process import VenueProcess, local_venue
from holdfast.di.config import load
from holdfast.di.places import account_keys, trading_url
from holdfast.model.errors import HoldfastError, VenueError
from holdfast.model.timestamps import NS_PER_MINUTE, format_rfc3339, parse_rfc3339
from holdfast.net.tls import trusted_by

_BUILT_IN = "holdfast-venue"
# Cheap, liquid, and known to every venue.
_STOCK, _COIN = "F", "BTC/USD"
_REFERENCE_SPEED = 120.0
_REFERENCE_OPEN, _REFERENCE_MINUTES = parse_rfc3339("2024-01-02T14:30:00Z"), 390
_REFERENCE_KEYS = ("HOLDFAST-REFERENCE", "reference-venue-only")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line said."""

    config: Path | None = None
    venue: str | None = None
    symbol: str | None = None
    max_notional: Decimal = Decimal(500)
    despite: bool = False
    seconds: float = 180.0
    recording: Path | None = None
    json: bool = False


async def certify(options: Options) -> bool:
    """Run the script at both, and print every difference; returns whether there is none."""
    silence_logs()
    values: dict[str, Any] = {} if options.venue is None else local_venue({}, options.venue, keep_keys=True)
    config = load(options.config, values)
    url = check_base_url(trading_url(config), "alpaca.base_url")
    key, secret = account_keys(config)
    check_address(url, key, config.account.mode)
    about = await _about(url)
    symbol = Market(symbol=options.symbol).symbols[0] if options.symbol else _default_symbol(about)
    if about:
        check_venue(about, symbol)
    data = check_base_url(config.alpaca.data_url or DATA_URL, "alpaca.data_url")
    async with Side(url, data, key, secret, speed=float(about.get("speed", 1.0))) as side:
        symbol, held = await _admitted(side, symbol, options)
        await side.listen()
        plan = await make_plan(side, symbol, options.max_notional)
        _say(options, f"certifying {url} with {plan.quantity} {plan.symbol} at about {plan.price} USD ...")
        yours = await _session(Run(side, plan, held), options)
    _say(options, f"{len(yours.steps)} steps; now the same at the built-in venue ...")
    venue = await _at_the_built_in(plan, options, is_held=held != 0)
    differences = compare(yours, venue)
    if options.recording is not None:
        write(yours, options.recording)
    _report(options, yours, differences)
    return not differences


async def _about(url: str) -> dict[str, Any]:
    """What a built-in venue says of itself; empty for Alpaca."""
    if not is_loopback(url):
        return {}
    try:
        async with httpx.AsyncClient(timeout=5.0, trust_env=False, verify=trusted_by(url)) as client:
            found = (await client.get(url + "/")).json()
    except httpx.HTTPError as error:
        message = f"no venue answers at {url}: {str(error) or type(error).__name__}"
        raise VenueError(message) from None
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found.get("name") == _BUILT_IN else {}


def _default_symbol(about: dict[str, Any]) -> str | None:
    known = [str(symbol) for symbol in about.get("symbols") or ()]
    return next((symbol for symbol in known if "/" not in symbol), known[0] if known else None)


async def _admitted(side: Side, symbol: str | None, options: Options) -> tuple[str, Decimal]:
    """The symbol, and what is held of it. Where none was named: a stock, or, while its market is closed, a coin."""
    if symbol is not None:
        return symbol, await admit(side, symbol, despite=options.despite)
    try:
        return _STOCK, await admit(side, _STOCK, despite=options.despite)
    except VenueError:
        return _COIN, await admit(side, _COIN, despite=options.despite)


async def _session(run: Run, options: Options) -> Recording:
    """The script, and whatever becomes of it, a clean end."""
    task = asyncio.current_task()
    with _stopped_by_signals(task):
        try:
            finished = await run_script(run, options.seconds)
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None  # the user's wish, which the command line has an exit code for
        finally:
            left = await _cleaned_up(run)
    if left:
        message = "; ".join(left)
        raise HoldfastError(message)
    return to_recording(run, finished=finished)


async def _cleaned_up(run: Run) -> list[str]:
    """Also where somebody is impatient: a second Ctrl-C does not end the cleaning up."""
    cleaning = asyncio.create_task(clean_up(run))
    while not cleaning.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(cleaning)
    left = cleaning.result()
    for sentence in left:
        tell(f"holdfast: left behind: {sentence}")
    return left


@contextlib.contextmanager
def _stopped_by_signals(task: asyncio.Task[Any] | None) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        tell("stopping: what was placed is cancelled, what was bought is sold ...")
        if task is not None:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


# -- the built-in venue beside it ----------------------------------------------------------------


async def _at_the_built_in(plan: Plan, options: Options, *, is_held: bool) -> Recording:
    with tempfile.TemporaryDirectory(prefix="holdfast-certify-") as folder:
        data = Path(folder, "market.csv")
        await asyncio.to_thread(_write_market, data, plan)
        market = Market(data=data, symbol=plan.symbol, participation=0.0)
        process = await VenueProcess.start(market, _REFERENCE_SPEED, None)
        try:
            url = process.url
            async with Side(url, url, *_REFERENCE_KEYS, speed=_REFERENCE_SPEED) as side:
                await side.listen()
                await last_price(side, plan.symbol)
                # Where the account holds something already, the script takes the same way here.
                return await _session(Run(side, plan, Decimal(1) if is_held else Decimal(0)), options)
        finally:
            await process.stop()


def _write_market(path: Path, plan: Plan) -> None:
    """A quiet day at the price that the other venue has."""
    price = f"{plan.price:f}"
    rows = ["timestamp,open,high,low,close,volume"]
    for minute in range(_REFERENCE_MINUTES):
        start = format_rfc3339(_REFERENCE_OPEN + minute * NS_PER_MINUTE)
        rows.append(f"{start},{price},{price},{price},{price},1000000")
    path.write_text("\n".join(rows) + "\n", encoding="ascii")


# -- what is shown --------------------------------------------------------------------------------


def _say(options: Options, text: str) -> None:
    if not options.json:
        tell(text)


def _report(options: Options, yours: Recording, differences: list[Difference]) -> None:
    if options.json:
        said = {
            "steps": len(yours.steps),
            "finished": yours.finished,
            "differences": [msgspec.structs.asdict(difference) for difference in differences],
        }
        typer.echo(msgspec.json.encode(said).decode())
        return
    step = ""
    for difference in differences:
        if difference.step != step:
            step = difference.step
            typer.echo(step)
        typer.echo(
            f"  {difference.where}: yours {_shown(difference.yours)}, the built-in venue {_shown(difference.venue)}"
        )
    told = sum(map(len, yours.events.values()))
    typer.echo(
        f"{len(yours.steps)} answers and {told} stream messages compared: {len(differences) or 'no'} differences"
    )
    if options.recording is not None:
        typer.echo(f"recording: {options.recording}")


def _shown(value: Any) -> str:
    return msgspec.json.encode(value).decode()
