"""The table itself, the command, its exit codes, and that no secret is ever shown."""

from __future__ import annotations

from holdfast.doctor import CHECKS, Check, Situation, State, examine
from tests.docs.snippets import ROOT
from tests.doctor.conftest import KEY, SECRET
from tests.e2e.helpers import Commands


def test_every_row_is_whole() -> None:
    """A name of its own, what, how and a remedy; what it needs stands above it."""
    seen: set[str] = set()
    for check in CHECKS:
        assert check.what
        assert check.how
        assert check.remedy
        assert check.name not in seen
        assert set(check.needs) <= seen
        seen.add(check.name)


def test_the_page_shows_the_table() -> None:
    """docs/OPERATIONS.md has every row of it."""
    text = (ROOT / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")

    for check in CHECKS:
        assert f"| {check.name} | {check.what} | {check.how} |" in text


async def test_a_check_that_breaks_is_a_finding_and_hides_no_other() -> None:
    """Nor does it show a secret that stands in its error."""

    async def breaks(_: Situation) -> str:
        message = f"with {SECRET} in it"
        raise RuntimeError(message)

    row = Check("broken", "what", "how", "remedy", breaks)
    situation = Situation(None, {"alpaca": {"api_key": KEY, "api_secret": SECRET}})
    checks = [CHECKS[2], row, row._replace(name="next", needs=("broken",)), CHECKS[0]]

    found = [finding async for finding in examine(situation, checks)]

    assert [finding.state for finding in found] == [State.OK, State.FAILED, State.SKIPPED, State.OK]
    assert "the check itself broke: RuntimeError: with *** in it" in found[1].said


def test_the_command_ends_with_0_1_or_2(commands: Commands) -> None:
    """Nothing failed, something did, and what cannot be asked for."""
    well = commands.run("doctor")
    ill = commands.run("doctor", env={"APCA_API_KEY_ID": f"AK{KEY[2:]}", "APCA_API_SECRET_KEY": SECRET})
    absurd = commands.run("doctor", "--journal", "mysql://x/y")

    assert (well.code, ill.code, absurd.code) == (0, 1, 2)
    assert "0 failed" in well.out
    assert "ok           python" in well.out
    assert "  -> " in ill.out
    assert (well.err, ill.err) == ("", "")
    assert SECRET not in ill.out
    assert KEY[2:] not in ill.out


def test_the_command_prints_json_alone(commands: Commands) -> None:
    """Counts and findings; a configuration that cannot be read is a finding too."""
    (commands.folder / "bad.toml").write_text("[nonsense]\n")

    said = commands.run("doctor", "--config", "bad.toml", "--json")

    assert said.code == 1
    assert '"failed":1' in said.out
    assert "no such setting" in said.out
