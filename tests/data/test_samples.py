"""The bundled sample is what NOTICE says it is."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from holdfast import samples
from holdfast.data import read_bars
from holdfast.model.errors import DataError
from holdfast.model.timestamps import NS_PER_MINUTE

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT.parent / "shared" / "data" / "btcusd_1m_2022-01.csv.gz"


def test_the_sample_is_two_whole_days_of_minutes() -> None:
    """2,880 bars without a gap, from the first minute of the first day to the last of the second."""
    bars = read_bars(samples.path(), samples.SAMPLES[samples.BTCUSD_TWO_DAYS])

    assert (bars.symbol, bars.period, len(bars)) == ("BTC/USD", NS_PER_MINUTE, 2880)
    assert np.all(np.diff(bars.ts) == NS_PER_MINUTE)
    assert (bars.ts[0] - bars.period) % (1440 * NS_PER_MINUTE) == 0


def test_the_sample_is_named_in_the_notice() -> None:
    """What it is, where it comes from, under which licence."""
    notice = (ROOT / "NOTICE").read_text()

    for words in (samples.BTCUSD_TWO_DAYS, "BTC-PERP", "nautilus_trader", "LGPL-3.0", "24 and 25 January 2022"):
        assert words in notice


def test_the_sample_holds_no_time_of_packing() -> None:
    """The gzip header's time is zero, so that the file can be made again byte for byte."""
    assert samples.path().read_bytes()[4:8] == b"\0\0\0\0"


@pytest.mark.skipif(not SOURCE.exists(), reason="the source data lie beside the repository, not in it")
def test_the_sample_is_an_unchanged_cut_of_its_source() -> None:
    """Header and the rows of the two days, byte for byte."""
    header, *rows = gzip.decompress(SOURCE.read_bytes()).splitlines(keepends=True)
    cut = b"".join([header, *(row for row in rows if row.startswith((b"2022-01-24", b"2022-01-25")))])

    assert gzip.decompress(samples.path().read_bytes()) == cut


def test_an_unknown_sample_is_one_clear_sentence() -> None:
    """Names only from the list."""
    with pytest.raises(DataError, match=r"no sample '\.\./x'; expected one of btcusd"):
        samples.path("../x")
