"""Sessions: known days of the NYSE, the UTC day, fixed hours, and the law that they all obey."""

from __future__ import annotations

import subprocess
import sys
import timeit
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.model import AssetClass
from holdfast.model.errors import ConfigurationError, DataError
from holdfast.model.timestamps import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, to_datetime, to_ns
from holdfast.time import ExchangeSessions, FixedSessions, Session, Sessions, UtcDaySessions, sessions_for

NEW_YORK = ZoneInfo("America/New_York")
NYSE = sessions_for(AssetClass.US_EQUITY)


def new_york(text: str) -> int:
    """A local time in New York as UTC ns."""
    return to_ns(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK))


@pytest.mark.parametrize(
    ("day", "close"),
    [
        ("2023-06-20", "16:00"),
        ("2023-07-03", "13:00"),  # the day before Independence Day
        ("2023-11-24", "13:00"),  # the day after Thanksgiving
        ("2024-12-24", "13:00"),  # Christmas Eve
        ("2024-11-29", "13:00"),
        ("2025-07-03", "13:00"),
        ("2024-03-08", "16:00"),  # the last session in winter time
        ("2024-03-11", "16:00"),  # the first in summer time
        ("2024-11-01", "16:00"),
        ("2024-11-04", "16:00"),
        ("1990-01-02", "16:00"),
    ],
)
def test_a_session_opens_and_closes_at_new_york_times(day: str, close: str) -> None:
    """Opens are 09:30 in New York whatever UTC makes of it; closes are early on the known days."""
    expected = Session(new_york(f"{day}T09:30"), new_york(f"{day}T{close}"))

    assert NYSE.at(new_york(f"{day}T11:00")) == expected


@pytest.mark.parametrize(
    ("friday", "monday", "utc_before", "utc_after"),
    [("2024-03-08", "2024-03-11", "14:30", "13:30"), ("2024-11-01", "2024-11-04", "13:30", "14:30")],
)
def test_daylight_saving_moves_the_open_in_utc(friday: str, monday: str, utc_before: str, utc_after: str) -> None:
    """The open moves by an hour of UTC over the weekend on which New York changes its clocks."""
    opens = [to_datetime(NYSE.at(new_york(f"{day}T12:00")).open).strftime("%H:%M") for day in (friday, monday)]

    assert opens == [utc_before, utc_after]


@pytest.mark.parametrize(
    ("closed", "next_day"),
    [
        ("2022-06-20T12:00", "2022-06-21"),  # Juneteenth, observed on Monday
        ("2023-06-19T12:00", "2023-06-20"),  # Juneteenth
        ("2023-07-03T13:00", "2023-07-05"),  # at the early close, a holiday follows
        ("2024-03-29T12:00", "2024-04-01"),  # Good Friday
        ("2025-01-09T12:00", "2025-01-10"),  # a day of mourning
        ("2024-01-06T12:00", "2024-01-08"),  # a Saturday
        ("2024-01-08T09:29", "2024-01-08"),  # before the open of the same day
        ("2024-01-08T16:00", "2024-01-09"),  # the close itself is outside
    ],
)
def test_outside_sessions_the_next_one_is_given(closed: str, next_day: str) -> None:
    """A moment in no session gets the next one to open, and the market is not open."""
    moment = new_york(closed)

    assert not NYSE.is_open(moment)
    assert NYSE.at(moment).open == new_york(f"{next_day}T09:30")


def test_a_session_contains_its_open_and_not_its_close() -> None:
    """Sessions are half-open; the bar that ends at the close is found with ``ts - 1``."""
    session = NYSE.at(new_york("2024-01-08T12:00"))

    assert NYSE.is_open(session.open)
    assert not NYSE.is_open(session.open - 1)
    assert NYSE.is_open(session.close - 1)
    assert not NYSE.is_open(session.close)
    assert NYSE.at(session.close - 1) == session


def test_the_calendar_reaches_from_1990_to_the_years_to_come() -> None:
    """It covers at least 1990 to 2040, and each year has some 250 sessions."""
    sessions = ExchangeSessions("XNYS")
    for year in (1990, 2008, 2040):
        first = sessions.at(to_ns(datetime(year, 1, 1, tzinfo=UTC)))
        count, session = 0, first
        while to_datetime(session.open).year == year:
            count, session = count + 1, sessions.at(session.close)

        assert 248 <= count <= 254


@pytest.mark.parametrize("moment", [datetime(1969, 12, 31, tzinfo=UTC), datetime(2090, 1, 1, tzinfo=UTC)])
def test_beyond_the_calendar_is_an_error_that_names_its_ends(moment: datetime) -> None:
    """No session is invented where the calendar knows none."""
    with pytest.raises(DataError, match=r"XNYS reaches from 1970-01-0.* to 2060-12-3.*lies outside"):
        NYSE.at(to_ns(moment))


def test_an_unknown_exchange_is_a_configuration_error() -> None:
    """A name that exchange_calendars does not know is refused in one sentence."""
    with pytest.raises(ConfigurationError, match="no exchange 'XXXX'"):
        ExchangeSessions("XXXX").at(0)


def test_an_exchange_with_bounds_of_its_own_is_asked_within_them() -> None:
    """Hong Kong's calendar starts late and ends early; it works within its bounds."""
    hong_kong = ExchangeSessions("XHKG")
    hong_kong.load()

    session = hong_kong.at(to_ns(datetime(2024, 1, 8, 2, tzinfo=UTC)))
    assert to_datetime(session.open) == datetime(2024, 1, 8, 1, 30, tzinfo=UTC)
    assert to_datetime(session.close) == datetime(2024, 1, 8, 8, 0, tzinfo=UTC)


def test_the_calendar_package_is_not_imported_before_it_is_needed() -> None:
    """``import holdfast.time`` stays cheap: no pandas, no exchange_calendars."""
    code = "import sys, holdfast.time; sys.exit('pandas' in sys.modules or 'exchange_calendars' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_asking_for_the_current_session_again_takes_under_a_microsecond() -> None:
    """The kernel asks once a bar; the answer is a comparison."""
    session = NYSE.at(new_york("2024-01-08T12:00"))
    at, moment = NYSE.at, session.open

    best = min(timeit.repeat(lambda: at(moment), number=5_000, repeat=10)) / 5_000
    assert best < 1e-6


def test_crypto_has_the_utc_day_for_a_session() -> None:
    """Crypto is always open, and its session runs from midnight to midnight UTC."""
    crypto = sessions_for(AssetClass.CRYPTO)
    sunday = to_ns(datetime(2024, 1, 7, 23, 59, tzinfo=UTC))

    session = crypto.at(sunday)

    assert crypto.is_open(sunday)
    assert to_datetime(session.open) == datetime(2024, 1, 7, tzinfo=UTC)
    assert to_datetime(session.close) == datetime(2024, 1, 8, tzinfo=UTC)


def test_sessions_for_gives_each_asset_class_one_shared_object() -> None:
    """The calendar is read once in a process."""
    assert sessions_for(AssetClass.US_EQUITY) is NYSE
    assert sessions_for(AssetClass.CRYPTO) is sessions_for(AssetClass.CRYPTO)


def test_fixed_sessions_keep_the_same_hours_on_every_day() -> None:
    """Also on weekends; between two sessions the next one is given."""
    fixed = FixedSessions(14 * NS_PER_HOUR + 30 * NS_PER_MINUTE, 21 * NS_PER_HOUR)
    saturday = to_ns(datetime(2024, 1, 6, tzinfo=UTC))

    before, within, after = (fixed.at(saturday + hours * NS_PER_HOUR) for hours in (1, 15, 21))

    assert before == within == Session(saturday + 52_200 * 10**9, saturday + 21 * NS_PER_HOUR)
    assert after.open - within.open == NS_PER_DAY
    assert not fixed.is_open(saturday + 14 * NS_PER_HOUR)


@pytest.mark.parametrize(("opens", "closes"), [(5, 5), (-1, 5), (0, NS_PER_DAY + 1)])
def test_fixed_sessions_refuse_hours_that_make_no_sense(opens: int, closes: int) -> None:
    """A session lies within one day and has a length."""
    with pytest.raises(ConfigurationError, match="expected 0 <= open < close"):
        FixedSessions(opens, closes)


MARKETS: list[Sessions] = [NYSE, UtcDaySessions(), FixedSessions(NS_PER_HOUR, 2 * NS_PER_HOUR)]
MOMENTS = st.datetimes(datetime(1985, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)).map(to_ns)  # noqa: DTZ001 - hypothesis wants naive bounds


@given(st.sampled_from(MARKETS), MOMENTS, st.timedeltas(timedelta(0), timedelta(days=9)))
def test_every_moment_has_exactly_one_answer(sessions: Sessions, moment: int, ahead: timedelta) -> None:
    """The session found ends after the moment, none lies between, and asking in any order gives the same."""
    session = sessions.at(moment)

    assert session.open < session.close
    assert moment < session.close
    assert sessions.is_open(moment) == (session.open <= moment)
    assert sessions.at(max(moment, session.open)) == session  # the first answer after the moment is this one
    assert sessions.at(session.close).open >= session.close  # no overlap

    later = sessions.at(moment + ahead // timedelta(microseconds=1) * 1000)
    assert later.open >= session.open
    assert sessions.at(moment) == session  # the cache of the later question changed nothing
