"""The command line. Every failure is one clear sentence and a non-zero exit code; a traceback is a bug of ours."""

from __future__ import annotations

import sys
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import holdfast
from holdfast.cli import data_commands, journal_commands
from holdfast.cli import venue_options as of_venue
from holdfast.cli.endings import EXIT_FAILED, call, judged, run
from holdfast.cli.logs import drop_what_nobody_reads, nowhere
from holdfast.model.errors import ConfigurationError
from holdfast.time.sessions import NYSE

if TYPE_CHECKING:
    from holdfast.journal.places import Place
    from holdfast.time.calendars import Calendar

app = typer.Typer(
    name="holdfast",
    help="Trade a strategy on Alpaca behind guards that fail closed: backtest, paper or live, through one kernel.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="TOML file with settings (see docs/CONFIGURATION.md).")
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="CSV file (or folder of SYMBOL.csv) with timestamp,open,high,low,close,volume (.gz is fine), or a catalog.",
    ),
]
StartOption = Annotated[
    str | None,
    typer.Option("--start", metavar="DAY_OR_TIME", help="From a catalog: the first day, or an RFC 3339 time."),
]
EndOption = Annotated[
    str | None, typer.Option("--end", metavar="DAY_OR_TIME", help="From a catalog: the last day, included, or a time.")
]
TimeframeOption = Annotated[
    str | None,
    typer.Option("--timeframe", metavar="1Min", help="From a catalog: the length of the bars; default: 1Min."),
]
AdjustmentOption = Annotated[
    str | None,
    typer.Option(
        "--adjustment",
        metavar="raw|split|dividend|all",
        help="From a catalog: for what prices are adjusted; default: raw, as traded.",
    ),
]
SymbolOption = Annotated[
    str | None, typer.Option("--symbol", metavar="SYMBOL", help="What to trade, e.g. BTC/USD; several with commas.")
]
SyntheticOption = Annotated[
    str | None,
    typer.Option(
        "--synthetic",
        metavar="SYMBOL,...",
        help="Make seeded equity sessions for these symbols instead of reading data.",
    ),
]
SessionsOption = Annotated[
    int, typer.Option("--sessions", min=1, metavar="NUMBER", help="How many synthetic sessions.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, metavar="NUMBER", help="Seed of the synthetic sessions.")]
StrategyOption = Annotated[
    str | None,
    typer.Option("--strategy", metavar="SOURCE", help="FILE.py:Class or module:Class; default: VwapMeanReversion."),
]
ParamOption = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=VALUE", help="A parameter of the strategy; may be repeated."),
]
JournalOption = Annotated[
    str | None,
    typer.Option(
        "--journal",
        metavar="FILE_OR_URL",
        help="Where state is kept between runs: a file, or postgresql://USER@HOST/DATABASE.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object at the end, and nothing else on stdout.")
]


def _usd(value: str | Decimal) -> Decimal:
    try:
        amount = Decimal(value)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        message = f"{str(value)!r} is not an amount of USD: expected a number that is not negative."
        raise typer.BadParameter(message)
    return amount


def _place(value: str | None) -> Place | None:
    if value is None:
        return None
    from holdfast.journal.places import to_place  # noqa: PLC0415 - see paper

    try:
        return to_place(value)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error), param_hint="--journal") from None


def _catalog_or(data: Path | None, catalog: Path | None) -> Path | None:
    if catalog is None:
        return data
    if data is not None:
        message = "give --data or --catalog, not both"
        raise typer.BadParameter(message, param_hint="--catalog")
    if not (catalog / "catalog.json").is_file():
        message = f"{catalog} is no catalog (it has no catalog.json); expected one made by holdfast data"
        raise typer.BadParameter(message, param_hint="--catalog")
    return catalog


CashOption = Annotated[
    Decimal,
    typer.Option("--cash", parser=_usd, metavar="USD", help="What the built-in venue's account holds (USD)."),
]
ParticipationOption = Annotated[
    float,
    typer.Option(
        "--participation",
        min=0.0,
        metavar="SHARE",
        help="Share of a bar's volume that orders may take; 0 is unlimited.",
    ),
]
SpreadOption = Annotated[
    float,
    typer.Option(
        "--spread-bps", min=0.0, metavar="NUMBER", help="Full spread around the traded price, in basis points."
    ),
]


def _version(value: bool) -> None:
    if value:
        typer.echo(f"holdfast {holdfast.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Trade a strategy on Alpaca behind guards that fail closed."""


@app.command()
def paper(
    config: ConfigOption = None,
    data: DataOption = None,
    start: StartOption = None,
    end: EndOption = None,
    timeframe: TimeframeOption = None,
    adjustment: AdjustmentOption = None,
    symbol: SymbolOption = None,
    synthetic: SyntheticOption = None,
    sessions: SessionsOption = 5,
    seed: SeedOption = 7,
    strategy: StrategyOption = None,
    param: ParamOption = None,
    speed: Annotated[
        str,
        typer.Option(
            "--speed",
            metavar="NUMBER|max",
            help="How many times faster than real replayed data runs, or max (lock-step).",
        ),
    ] = "300",
    venue: Annotated[
        str | None, typer.Option("--venue", metavar="URL", help="URL of a built-in venue that already runs.")
    ] = None,
    journal: JournalOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Lift a halt that an earlier run left behind.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Exit at the end of replayed data.")] = False,
    json: JsonOption = False,
    cash: CashOption = Decimal(100_000),
    participation: ParticipationOption = 0.1,
    spread_bps: SpreadOption = 0.0,
    status_port: Annotated[
        int | None,
        typer.Option(
            "--status-port", min=0, max=65535, metavar="PORT", help="Port of the status API; 0 takes any free one."
        ),
    ] = None,
    open_orders: Annotated[
        str | None,
        typer.Option("--open-orders", metavar="cancel|leave", help="What a stop does to open orders; default: cancel."),
    ] = None,
) -> None:
    """Trade with play money.

    With --data, --synthetic or --venue: on the built-in venue. Without: on Alpaca paper where keys are
    configured (APCA_API_KEY_ID, APCA_API_SECRET_KEY), else on the built-in venue with the bundled sample,
    two days of real BTC minutes.
    """
    from holdfast.cli import trade  # noqa: PLC0415 - commands import what they need, so that --help is quick

    options = trade.Options(
        mode="paper",
        config=config,
        market=trade.Market(
            data=data,
            start=start,
            end=end,
            timeframe=timeframe,
            adjustment=adjustment,
            symbol=symbol,
            synthetic=synthetic,
            sessions=sessions,
            seed=seed,
            cash=cash,
            participation=participation,
            spread_bps=spread_bps,
        ),
        strategy=strategy,
        params=tuple(param or ()),
        speed=speed,
        venue=venue,
        journal=_place(journal),
        once=once,
        json=json,
        status_port=status_port,
        open_orders=open_orders,
        resume=resume,
    )
    run(lambda: trade.run(options))


@app.command(short_help="Trade with real money on Alpaca.")
def live(
    config: ConfigOption = None,
    symbol: SymbolOption = None,
    strategy: StrategyOption = None,
    param: ParamOption = None,
    journal: JournalOption = None,
    json: JsonOption = False,
    status_port: Annotated[
        int | None,
        typer.Option(
            "--status-port", min=0, max=65535, metavar="PORT", help="Port of the status API; 0 takes any free one."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Lift a halt that an earlier run left behind.")] = False,
    i_accept_real_orders: Annotated[
        bool,
        typer.Option("--i-accept-real-orders", help="Needed, besides account.live_confirmed in the configuration."),
    ] = False,
) -> None:
    """Trade with real money on Alpaca. Needs account.live_confirmed = true and --i-accept-real-orders."""
    from holdfast.cli import trade  # noqa: PLC0415 - see paper

    options = trade.Options(
        mode="live",
        config=config,
        market=trade.Market(symbol=symbol),
        strategy=strategy,
        params=tuple(param or ()),
        journal=_place(journal),
        json=json,
        status_port=status_port,
        live_accepted=i_accept_real_orders,
        resume=resume,
    )
    run(lambda: trade.run(options))


@app.command(short_help="Run the same kernel over recorded bars, in this process.")
def backtest(
    config: ConfigOption = None,
    data: DataOption = None,
    catalog: Annotated[
        Path | None, typer.Option("--catalog", metavar="DIR", help="A catalog (see holdfast data), in place of --data.")
    ] = None,
    start: StartOption = None,
    end: EndOption = None,
    timeframe: TimeframeOption = None,
    adjustment: AdjustmentOption = None,
    symbol: SymbolOption = None,
    synthetic: SyntheticOption = None,
    sessions: SessionsOption = 5,
    seed: SeedOption = 7,
    strategy: StrategyOption = None,
    param: ParamOption = None,
    json: JsonOption = False,
    cash: CashOption = Decimal(100_000),
    participation: ParticipationOption = 0.1,
    spread_bps: SpreadOption = 0.0,
) -> None:
    """Run the same kernel and strategy over recorded bars, with the venue's matching engine in-process."""
    from holdfast.cli import backtest as work  # noqa: PLC0415 - see paper
    from holdfast.cli.market import Market  # noqa: PLC0415 - see paper

    market = Market(
        data=_catalog_or(data, catalog),
        start=start,
        end=end,
        timeframe=timeframe,
        adjustment=adjustment,
        symbol=symbol,
        synthetic=synthetic,
        sessions=sessions,
        seed=seed,
        cash=cash,
        participation=participation,
        spread_bps=spread_bps,
    )
    call(lambda: work.backtest(config, market, strategy, tuple(param or ()), as_json=json))


@app.command(short_help="Run the built-in venue: a local Alpaca.")
def venue(
    data: DataOption = None,
    start: StartOption = None,
    end: EndOption = None,
    timeframe: TimeframeOption = None,
    adjustment: AdjustmentOption = None,
    symbol: SymbolOption = None,
    synthetic: SyntheticOption = None,
    sessions: SessionsOption = 5,
    seed: SeedOption = 7,
    speed: of_venue.SpeedOption = "max",
    port: of_venue.PortOption = 0,
    admin_port: of_venue.AdminPortOption = 0,
    book: of_venue.BookOption = None,
    cash: CashOption = Decimal(100_000),
    participation: ParticipationOption = 0.1,
    spread_bps: SpreadOption = 0.0,
    rate_limit: of_venue.RateLimitOption = 200,
    scenario: of_venue.ScenarioOption = None,
    ticks: of_venue.TicksOption = True,
    quotes: of_venue.QuotesOption = None,
    trades: of_venue.TradesOption = None,
    basic_plan: of_venue.BasicPlanOption = False,
    exit_with_parent: of_venue.ParentOption = False,
) -> None:
    """Run the built-in venue: a local Alpaca that replays recorded bars.

    Any key pair opens an account of its own. When it listens it prints one line of JSON with its addresses: open the
    first in a browser to see how to point each SDK at it, and the second for what an operator can do. It listens
    on the loopback interface only, until Ctrl-C.

    Without --data, --synthetic or recorded ticks it replays the bundled sample.
    """
    from holdfast.cli import venue as work  # noqa: PLC0415 - see paper
    from holdfast.cli.market import Market  # noqa: PLC0415 - see paper

    market = Market(
        data=data,
        start=start,
        end=end,
        timeframe=timeframe,
        adjustment=adjustment,
        symbol=symbol,
        synthetic=synthetic,
        sessions=sessions,
        seed=seed,
        cash=cash,
        participation=participation,
        spread_bps=spread_bps,
    )
    run(
        lambda: work.venue(
            market,
            speed=speed,
            port=port,
            admin_port=admin_port,
            book=book,
            exit_with_parent=exit_with_parent,
            scenario=scenario,
            rate_limit=rate_limit,
            ticks=ticks,
            quotes=quotes,
            trades=trades,
            basic_plan=basic_plan,
        )
    )


@app.command()
def status(
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Address of the status API; default: the last bot started here."),
    ] = None,
    token: Annotated[
        str | None, typer.Option("--token", metavar="TOKEN", envvar="HOLDFAST_STATUS__TOKEN", help="Its token.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show what a running bot says of itself."""
    from holdfast.cli import inspect  # noqa: PLC0415 - see paper

    call(lambda: inspect.status(url, token, as_json=json))


BotJournalOption = Annotated[
    str | None,
    typer.Option(
        "--journal",
        metavar="FILE_OR_URL",
        help="The bot's journal; default: journal.path, or the one kept for Alpaca.",
    ),
]
BotVenueOption = Annotated[
    str | None,
    typer.Option("--venue", metavar="URL", help="URL of a built-in venue; default: where the bot traded last."),
]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Kept in the journal and told to people.")]


@app.command()
def halt(
    journal: BotJournalOption = None,
    config: ConfigOption = None,
    reason: ReasonOption = "",
    reduce: Annotated[
        bool, typer.Option("--reduce", help="Let orders leave that reduce a position, and no others.")
    ] = False,
) -> None:
    """Let no order leave any more, also when the bot hangs.

    Puts a file beside the journal (for a database: in the state folder; or where journal.control says) that the bot
    looks at before each order request; cancels still leave. It stays in force, over restarts too, until
    `holdfast resume`.
    """
    from holdfast.cli import stopping  # noqa: PLC0415 - see paper

    place = _place(journal)
    run(lambda: stopping.halt(place, config, reason, reduce=reduce))


@app.command(short_help="Lift a halt.")
def resume(journal: BotJournalOption = None, config: ConfigOption = None) -> None:
    """Lift a halt: take the halt file away, and let the bot (or its next run) trade again."""
    from holdfast.cli import stopping  # noqa: PLC0415 - see paper

    place = _place(journal)
    run(lambda: stopping.resume(place, config))


@app.command(short_help="Cancel what is open, close every position, and halt.")
def flatten(
    journal: BotJournalOption = None,
    config: ConfigOption = None,
    venue: BotVenueOption = None,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=1.0, help="Give up after so many seconds.")
    ] = 30.0,
    reason: ReasonOption = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Also close positions and cancel orders that are not the bot's.")
    ] = False,
) -> None:
    """Cancel what is open and close every position of the bot, whatever state it is in; then halt.

    A bot that answers does it itself. One that is silent for two seconds is ended (by its pid and start time), and its
    journal is taken over. Exit code 0: flat; 1: something is left, and what.
    """
    from holdfast.cli import flattening  # noqa: PLC0415 - see paper

    place = _place(journal)
    run(lambda: flattening.flatten(place, config, venue, seconds=timeout, reason=reason, everything=everything))


@app.command(short_help="Look after a bot from outside, and tell what is wrong.")
def watch(
    journal: BotJournalOption = None,
    config: ConfigOption = None,
    venue: BotVenueOption = None,
    every: Annotated[float, typer.Option("--every", metavar="SECONDS", min=1.0, help="Seconds between looks.")] = 30.0,
    once: Annotated[
        bool, typer.Option("--once", help="Look once (twice where something must be confirmed), and exit.")
    ] = False,
) -> None:
    """Look after a running bot from outside, and tell when something is wrong.

    Alerts, once each, when the bot is silent or gone, when its books differ from the venue's, when a position or an
    order has no bot that looks after it; and when that is over. With --once: exit code 0 where all is well, else 1.
    """
    from holdfast.cli import watching  # noqa: PLC0415 - see paper

    place = _place(journal)
    run(lambda: watching.watch(place, config, venue, every=every, once=once))


@app.command(short_help="Look at all that a bot leans on, and say what to do.")
def doctor(
    config: ConfigOption = None,
    journal: BotJournalOption = None,
    venue: Annotated[
        str | None, typer.Option("--venue", metavar="URL", help="Examine against a built-in venue that runs there.")
    ] = None,
    symbol: SymbolOption = None,
    notify: Annotated[bool, typer.Option("--notify", help="Send a test message to every alert channel.")] = False,
    json: JsonOption = False,
) -> None:
    """Look at everything that a bot leans on, and say what to do about what is wrong.

    Configuration, keys, both APIs, clock, account, streams, journal, disk, alerts. It changes nothing, and leaves the
    streams to a bot that runs. Exit code 0 where nothing failed (warnings count as nothing), 1 where something did.
    """
    from holdfast.cli import doctor as examination  # noqa: PLC0415 - see paper

    place = _place(journal)
    run(lambda: judged(examination.doctor(config, place, venue, symbol, notify=notify, as_json=json)))


@app.command(short_help="Compare an Alpaca paper account with the built-in venue.")
def certify(
    config: ConfigOption = None,
    venue: Annotated[
        str | None, typer.Option("--venue", metavar="URL", help="URL of a built-in venue in place of Alpaca paper.")
    ] = None,
    symbol: Annotated[
        str | None,
        typer.Option(
            "--symbol", metavar="SYMBOL", help="What to trade; default: F, or BTC/USD while the stock market is closed."
        ),
    ] = None,
    max_notional: Annotated[
        Decimal,
        typer.Option(
            "--max-notional", parser=_usd, metavar="USD", help="What may be bought at most, and is sold again."
        ),
    ] = Decimal(500),
    despite: Annotated[
        bool, typer.Option("--despite", help="Begin although there is a position or an open order in the symbol.")
    ] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=10.0, help="Give the script up after so many seconds.")
    ] = 180.0,
    recording: Annotated[
        Path | None,
        typer.Option("--recording", metavar="FILE", help="Keep what was said, without keys, ids and account."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare your Alpaca paper account with the built-in venue: the same tiny orders at both, every answer laid side by side.

    Orders far from the market, refusals that harm nobody, one share (or a few USD of a coin) bought and sold. Never on a
    live account. It cleans up after itself, on Ctrl-C too. Exit code 0: no difference; 1: differences, or it went wrong;
    2: refused.
    """
    from holdfast.cli import certify as certification  # noqa: PLC0415 - see paper

    options = certification.Options(
        config=config,
        venue=venue,
        symbol=symbol,
        max_notional=max_notional,
        despite=despite,
        seconds=timeout,
        recording=recording,
        json=json,
    )
    run(lambda: judged(certification.certify(options)))


JournalArgument = Annotated[
    str, typer.Argument(metavar="JOURNAL", help="A journal's file, or the address of its PostgreSQL database.")
]


@app.command(short_help="Decide a journal again, and compare every command.")
def replay(
    journal: JournalArgument,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Settings in place of those that the journal has recorded."),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy", metavar="SOURCE", help="FILE.py:Class or module:Class in place of the recorded strategy."
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Decide everything in a journal again, and compare every command and every hash of the state.

    Exits 0 where all is the same, and 1 with the first difference where it is not. Runs that other code, another
    configuration or another strategy made are followed and named, not compared. Also while a bot writes the journal.
    """
    from holdfast.cli import history  # noqa: PLC0415 - see paper

    call(lambda: history.show_replay(journal, config=config, strategy=strategy, as_json=json))


@app.command(short_help="Tell the life of one order.")
def explain(
    journal: JournalArgument,
    order: Annotated[str, typer.Argument(metavar="ORDER", help="Its client order id, its number, or the venue's id.")],
    json: JsonOption = False,
) -> None:
    """Tell the life of one order: what led to it, what each guard said, and the milliseconds of each step."""
    from holdfast.cli import history  # noqa: PLC0415 - see paper

    call(lambda: history.show_order(journal, order, as_json=json))


@app.command(short_help="Simulate bot and venue under faults and crashes.")
def torture(
    seeds: Annotated[
        int | None,
        typer.Option(
            "--seeds", metavar="NUMBER", min=1, help="How many seeds; default 25, or 1 where --seed is given."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", metavar="NUMBER", min=0, help="The (first) seed; one seed is always the same run."),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option("--strategy", metavar="SOURCE", help="Torture this one: FILE.py:Class or module:Class."),
    ] = None,
    canary: Annotated[
        bool, typer.Option("--canary", help="Run the deliberately broken variants: each must be caught.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Simulate the whole bot and the whole venue under faults and crashes, and check what must always hold.

    One seed decides prices, schedules and faults. Exit code 0 only where nothing was violated.
    """
    from holdfast.cli import torture as simulator  # noqa: PLC0415 - see paper

    count = seeds if seeds is not None else 25 if seed is None else 1
    options = simulator.Options(
        first=1 if seed is None else seed, count=count, strategy=strategy, canary=canary, json=json
    )

    def work() -> None:
        if not simulator.run(options):
            raise typer.Exit(EXIT_FAILED)

    call(work)


def main() -> None:
    """The entry point."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # a service may be started with its descriptors closed
            setattr(sys, name, nowhere())
    NYSE.read = _kept_calendar
    try:
        app()
    finally:
        drop_what_nobody_reads()


def _kept_calendar(name: str) -> Calendar:
    from holdfast.data.calendar_cache import kept_calendar  # noqa: PLC0415 - see paper

    return kept_calendar(name)


app.add_typer(journal_commands.make_app(call), name="journal")
app.add_typer(data_commands.make_app(call), name="data")
