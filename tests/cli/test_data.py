"""``holdfast data`` as a user runs it: real processes against a vendor on this machine."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from holdfast.cli.main import app
from holdfast.testing.vendors import KEY
from tests.data.vendors import files_of
from tests.e2e.helpers import Commands

WEEK = ("--start", "2024-01-02", "--end", "2024-01-12")


class Vendor:
    """A process that serves ten synthetic sessions of SPY."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "holdfast.testing.vendors", "SPY", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    @property
    def environment(self) -> dict[str, str]:
        """Where the command finds it, and the keys; both vendors' paces are those of someone who pays."""
        return {
            "APCA_API_KEY_ID": KEY,
            "APCA_API_SECRET_KEY": "s",
            "HOLDFAST_ALPACA__DATA_URL": self.url,
            "POLYGON_API_KEY": KEY,
            "HOLDFAST_POLYGON__BASE_URL": self.url,
            "HOLDFAST_LIMITS": '{"polygon": {"limit": 1000, "period": 1}}',
        }

    def close(self) -> None:
        """End it."""
        self.process.communicate()


@pytest.fixture(scope="module")
def vendor() -> Iterator[Vendor]:
    """One that answers at once."""
    running = Vendor()
    yield running
    running.close()


@pytest.mark.slow
@pytest.mark.parametrize("provider", ["alpaca", "polygon"])
def test_download_list_check_and_backtest(commands: Commands, tmp_path: Path, vendor: Vendor, provider: str) -> None:
    """The whole way, and a second download has nothing to do."""
    root = tmp_path / "catalog"
    arguments = ("data", "download", "--provider", provider, "--symbols", "SPY", *WEEK, "--catalog", root, "--json")
    first = commands.run(*arguments, env=vendor.environment).json
    again = commands.run(*arguments, env=vendor.environment).json
    assert (first["series"][0]["parts"], first["series"][0]["skipped"]) == (11, 0)
    assert (again["series"][0]["parts"], again["series"][0]["skipped"]) == (0, 11)

    (listed,) = commands.run("data", "ls", "--catalog", root, "--json").json["series"]
    assert (listed["symbol"], listed["first"], listed["last"], listed["actions"]) == (
        "SPY",
        "2024-01-02",
        "2024-01-12",
        2,
    )
    checked = commands.run("data", "check", "--catalog", root, "--json").json
    assert checked["findings"] == 0

    range_ = ("--start", "2024-01-03", "--end", "2024-01-10")
    raw = commands.run("backtest", "--catalog", root, "--symbol", "SPY", *range_, "--json").json
    adjusted = commands.run(
        "backtest", "--data", root, "--symbol", "SPY", *range_, "--adjustment", "all", "--json"
    ).json
    assert raw["bars"] == adjusted["bars"] > 2_000


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on(commands: Commands, tmp_path: Path, vendor: Vendor) -> None:
    """SIGKILL while pages come, three times; the end is byte for byte that of a download that nobody disturbed."""
    slow = Vendor("--page-size", "150", "--delay", "0.03")
    arguments = ("data", "download", "--symbols", "SPY", *WEEK)
    parts = 0
    for _ in range(3):
        running = commands.start(*arguments, "--catalog", tmp_path / "killed", env=slow.environment)
        manifest = tmp_path / "killed/us_equity/SPY/bars/1Min/manifest.jsonl"

        def more(path: Path = manifest, before: int = parts) -> bool:
            return path.exists() and path.read_bytes().count(b"\n") > before

        running.until(more)
        running.process.send_signal(signal.SIGKILL)
        running.process.wait()
        parts = manifest.read_bytes().count(b"\n")
        assert parts < 11
    assert commands.run(*arguments, "--catalog", tmp_path / "killed", env=slow.environment).code == 0
    slow.close()
    assert commands.run(*arguments, "--catalog", tmp_path / "whole", env=vendor.environment).code == 0

    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


def test_check_exits_with_one_where_something_is_wrong(commands: Commands, tmp_path: Path, vendor: Vendor) -> None:
    """And says where."""
    root = tmp_path / "catalog"
    commands.run("data", "download", "--symbols", "SPY", *WEEK, "--catalog", root, env=vendor.environment)
    (root / "us_equity/SPY/bars/1Min/2024-01-04.parquet").write_bytes(b"nonsense")
    said = commands.run("data", "check", "--catalog", root)
    assert said.code == 1
    assert "file     2024-01-04.parquet  is not what was stored: its checksum differs" in said.out


@pytest.mark.slow
def test_an_import_and_a_venue_that_reads_it(commands: Commands, tmp_path: Path) -> None:
    """CSV into a catalog, and a session in lock-step over what was read from it is that of the file."""
    rows = [f"2022-01-03T00:{n:02d}:00Z,{100 + n % 7},{101 + n % 7},{99 + n % 7},{100 + n % 7},50" for n in range(60)]
    (tmp_path / "BTCUSD.csv").write_text("timestamp,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    root = tmp_path / "catalog"
    done = commands.run(
        "data", "import", tmp_path / "BTCUSD.csv", "--symbols", "BTC/USD", "--catalog", root, "--json"
    ).json
    assert done["series"] == [
        {"symbol": "BTC/USD", "kind": "bars", "timeframe": "1Min", "parts": 1, "rows": 60, "left_out": 0}
    ]
    paper = ("--symbol", "BTC/USD", "--speed", "max", "--once", "--json")
    from_file = commands.run("paper", "--data", tmp_path / "BTCUSD.csv", *paper).json
    from_catalog = commands.run(
        "paper", "--data", root, "--start", "2022-01-03T00:00:00Z", "--end", "2022-01-03T01:00:00Z", *paper
    ).json
    assert from_catalog["bars"] == from_file["bars"] == 60
    assert [order["side"] for order in from_catalog["orders"]] == [order["side"] for order in from_file["orders"]]


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("data download --symbols SPY --start soon", 2, "--start 'soon' is no day; expected YYYY-MM-DD"),
        ("data download --symbols SPY --start 2024-01-02 --timeframe 1Min2", 2, "unknown timeframe '1Min2'"),
        ("data download --symbols ../x --start 2024-01-02", 2, "'../x' is no symbol"),
        ("data download --symbols SPY --start 2024-01-02", 2, "or APCA_API_KEY_ID in the environment"),
        (
            "data download --provider polygon --symbols SPY --start 2024-01-02",
            2,
            "or MASSIVE_API_KEY or POLYGON_API_KEY in the environment",
        ),
        ("data ls --catalog {dir}/none", 2, "is no catalog"),
        ("data import {dir}/none.csv --symbols SPY", 2, "there is no such file or folder"),
        ("backtest --data {dir}/bars.csv --symbol SPY --start 2024-01-02", 2, "--start needs a catalog"),
        ("backtest --start 2024-01-02", 2, "--start needs --data"),
        ("backtest --catalog {dir} --symbol SPY", 2, "is no catalog"),
    ],
)
def test_bad_input_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, code: int, words: str
) -> None:
    """What, where, and what was expected."""
    (tmp_path / "bars.csv").write_text("timestamp,open,high,low,close,volume\n2022-01-03T00:00:00Z,1,1,1,1,1\n")
    for name in ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY", "MASSIVE_API_KEY", "POLYGON_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    said = CliRunner().invoke(app, line.format(dir=tmp_path).split())
    assert said.exit_code == code
    assert words in " ".join(said.stderr.split())


def test_a_catalog_needs_the_extra(commands: Commands, tmp_path: Path) -> None:
    """Without it: one sentence with the remedy, and no empty catalog is left behind."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/polars.py").write_text("raise ImportError('hidden')\n")
    (tmp_path / "a.csv").write_text(
        "timestamp,open,high,low,close,volume\n2022-01-03T00:00:00Z,1,1,1,1,1\n2022-01-03T00:01:00Z,1,1,1,1,1\n"
    )
    python_path = f"{tmp_path / 'hidden'}:{':'.join(sys.path)}"
    said = commands.run(
        "data",
        "import",
        tmp_path / "a.csv",
        "--symbols",
        "BTC/USD",
        "--catalog",
        tmp_path / "catalog",
        env={"PYTHONPATH": python_path},
    )
    assert said.code == 2
    assert "pip install 'holdfast[parquet]'" in said.err
    assert not (tmp_path / "catalog").exists()
