"""The checks, as a table: what is looked at, how, what to do where it fails, and which checks must have passed before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import NamedTuple

import msgspec

from holdfast.doctor import own, venue
from holdfast.doctor.findings import Finding, Outcome, State
from holdfast.doctor.situation import Situation

_SECRET_LENGTH_MIN = 8  # what is shorter is no secret of anybody's, and may be part of a word


class Check(NamedTuple):
    """One row.

    Attributes:
        name: Of the check.
        what: What must be so.
        how: What is done to find out.
        remedy: What to do where it is not so, unless the check knows better.
        run: Looks, and says what it found; ends with an ``Outcome`` where that is not well.
        needs: The checks without which it cannot be made.
    """

    name: str
    what: str
    how: str
    remedy: str
    run: Callable[[Situation], Awaitable[str]]
    needs: tuple[str, ...] = ()


_ACCOUNT = ("keys", "address")

# fmt: off
CHECKS: tuple[Check, ...] = (
    Check("python", "Python and the libraries are new enough", "their versions, against what the package declares",
          "`make setup`, or install the package again", own.python),
    Check("time zones", "New York's zone and the exchange's calendar are known", "both are asked about today",
          "install or upgrade the packages tzdata and exchange-calendars", own.time_zones),
    Check("configuration", "it can be read, has no unknown key, and every value is in its range",
          "the file, the environment over it, guards and limits made of it",
          "docs/CONFIGURATION.md has every key with its range", own.configuration),
    Check("environment", "no setting is misspelt", "names like ours that nobody reads", "take the variable away",
          own.environment),
    Check("strategy", "the strategy can be made", "it is imported and made, and sees no bar",
          "strategy.source is FILE.py:Class or module:Class", own.strategy, ("configuration",)),
    Check("keys", "there is a key pair, of the account that is meant", "presence, characters, length, prefix",
          "set APCA_API_KEY_ID and APCA_API_SECRET_KEY to the pair that Alpaca's dashboard shows", own.keys,
          ("configuration",)),
    Check("address", "orders go where account.mode says", "the addresses, against the mode",
          "leave alpaca.base_url out: the mode says it", own.address, ("configuration",)),
    Check("trading API", "it answers, and takes the keys", "GET /v2/account",
          "check alpaca.base_url", venue.trading_api, _ACCOUNT),
    Check("data API", "it gives recent bars of the feed", "GET bars of the first symbol of each kind, five minutes back",
          "check alpaca.data_url and alpaca.feed, or for Massive polygon.base_url", venue.data_api, ("trading API",)),
    Check("clock", "our clock agrees with the venue's", "GET /v2/clock (else its Date), against the request's middle",
          "let the machine follow a time server (timedatectl set-ntp true): deadlines and the age of data go by its clock",
          venue.clock, ("trading API",)),
    Check("account", "it is active, not blocked, and the one that is meant", "GET /v2/account",
          "look at the account in Alpaca's dashboard", venue.account, ("trading API",)),
    Check("permissions", "it may trade what the strategy trades", "GET /v2/account: shorts, crypto_status, equity",
          "look at the account's settings in Alpaca's dashboard", venue.permissions, ("trading API",)),
    Check("symbols", "each is known and tradable", "GET /v2/assets of each",
          "check strategy.symbols and watch: stocks are written SPY, coins BTC/USD", venue.symbols, ("trading API",)),
    Check("trade stream", "we are authorised and listening", "opened, and closed; not while a bot runs",
          "look at the keys and the network", venue.trade_stream, ("trading API",)),
    Check("data streams", "keys and symbols are taken", "opened, subscribed, and closed; not while a bot runs",
          "look at the keys, the network and the data plan", venue.data_streams, ("trading API",)),
    Check("journal", "it opens, and its newest records are whole", "read from outside; nothing is locked or cut off",
          "`holdfast journal verify` names the place; docs/JOURNAL.md says what to do", own.journal, ("configuration",)),
    Check("halt", "no halt is in force", "the halt file is read", "`holdfast resume` lifts it", own.halt,
          ("configuration",)),
    Check("disk", "the journal can be written, quickly, and there is room", "a file without a name is written and flushed",
          "name another place for the journal (--journal, journal.path)", own.disk, ("configuration",)),
    Check("alerts", "somebody hears of what goes wrong", "the webhooks are parsed; with --notify each gets a message",
          "set [notify] webhooks; docs/CONFIGURATION.md shows how", own.alerts, ("configuration",)),
    Check("status port", "the status API can listen", "the port is bound, and let go",
          "choose another status.port; 0 takes any free one", own.status_port, ("configuration",)),
)
# fmt: on


async def examine(situation: Situation, checks: Sequence[Check] = CHECKS) -> AsyncIterator[Finding]:
    """Make every check, in the order of the table; one that takes too long, or breaks, is a finding like any other."""
    states: dict[str, State] = {}
    try:
        for check in checks:
            missing = next((name for name in check.needs if states.get(name) in (State.FAILED, State.SKIPPED)), None)
            if missing is not None:
                finding = Finding(name=check.name, state=State.SKIPPED, said=f"needs {missing}", waits_for=missing)
            else:
                finding = _shown(await _made(check, situation), situation.secrets)
            states[check.name] = finding.state
            yield finding
    finally:
        await situation.close()


async def _made(check: Check, situation: Situation) -> Finding:
    seconds = situation.thresholds.check
    try:
        async with asyncio.timeout(seconds):
            return Finding(name=check.name, state=State.OK, said=await check.run(situation))
    except Outcome as outcome:
        remedy = check.remedy if outcome.remedy is None else outcome.remedy
        return Finding(name=check.name, state=outcome.state, said=outcome.said, remedy=remedy)
    except TimeoutError:
        said = f"this took longer than {seconds:.0f} s, and was given up"
        return Finding(name=check.name, state=State.FAILED, said=said, remedy=check.remedy)
    except Exception as error:  # noqa: BLE001 - a boundary: one check that breaks must not hide what the others find
        said = f"the check itself broke: {type(error).__name__}: {error}"
        return Finding(name=check.name, state=State.FAILED, said=said, remedy="please report this")


def _shown(finding: Finding, secrets: Sequence[str]) -> Finding:
    """Without any secret, and on one line, whoever wrote the text."""
    texts = []
    for text in (finding.said, finding.remedy):
        for secret in sorted(secrets, key=len, reverse=True):
            if len(secret) >= _SECRET_LENGTH_MIN:
                text = text.replace(secret, "***")  # noqa: PLW2901 - the same text, with less in it
        texts.append(" ".join(text.split()))
    return msgspec.structs.replace(finding, said=texts[0], remedy=texts[1])
