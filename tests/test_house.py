"""The rules of the house that no ready-made linter knows, and canaries for those that one should.

Each rule is a function from text (or a tree) to complaints, so that it can be shown a sin and must
complain: a lint that never fires guards nothing.
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "holdfast"

MODULE_LINES_MAX = 700
# A module that is rightly larger stands here, with its lines as they are: the number may only shrink.
LARGE_MODULES: dict[str, int] = {}

# The names that users build on (signatures are tested where they live).
PUBLIC_NAMES = {
    "holdfast.time": ["Clock", "RealTimeClock", "BacktestClock", "get_clock"],
    "holdfast.net": ["Throttler", "RateLimit", "create_combined_throttler"],
    "holdfast.state.order_tracker": ["OrderTracker", "InFlightOrder", "FillEvent", "OrderSide", "OrderType"],
    "holdfast.state": ["OrderStateMachine", "PositionStore"],
    "holdfast.risk.protections": [
        "ProtectionManager",
        "ProtectionResult",
        "StoplossGuard",
        "MaxDrawdown",
        "CooldownPeriod",
        "LowProfitSymbols",
        "create_default_protections",
    ],
    "holdfast.risk": ["PreTradeRiskGate"],
    "holdfast.realtime": ["UserStreamTracker"],
    "holdfast.market": ["SymbolProperties", "SymbolPropertiesCache", "SecurityCache"],
    "holdfast.brokers": ["AlpacaConnector"],
    "holdfast.data": ["PolygonProvider"],
    "holdfast.strategies": ["Strategy", "VwapMeanReversion"],
    "holdfast.notify": ["Notifier"],
    "holdfast.di": ["Container"],
}

# Written in pieces, so that this file does not hold what it looks for.
_INDEX_HOSTS = ["py" + "pi.org", "pythonhosted" + ".org", "npmjs" + ".org", "conda" + ".anaconda.org"]
_MACHINE_PATHS = ["/ro" + "ot/", "/wo" + "rk/", "/ho" + "me/", "/Us" + "ers/", "/t" + "mp/hf", "/opt/" + "wheels"]
_TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".in", ".yml", ".yaml", ".cfg", ".ini", ".json", ".sh", ""}


def tracked_files() -> list[Path]:
    """Every file that is, or is about to be, part of the repository; where there is no git, every file that is here."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - the developer's own git
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.decode()
        paths = [ROOT / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        hidden = re.compile(r"/(\.(?!ci/|git(ignore|attributes)$)|__pycache__/|dist/|build/|var/)")
        paths = [path for path in ROOT.rglob("*") if not hidden.search(f"/{path.relative_to(ROOT).as_posix()}")]
    return sorted(path for path in paths if path.is_file())


def python_files() -> list[Path]:
    """Every Python file of the repository."""
    return [path for path in tracked_files() if path.suffix == ".py"]


def relative(path: Path) -> str:
    """The path as a person would say it."""
    return path.relative_to(ROOT).as_posix()


def complaints(rule: Callable[[str], list[str]], paths: list[Path]) -> list[str]:
    """Every complaint of a rule over whole files, each with its file."""
    return [f"{relative(path)}: {what}" for path in paths for what in rule(path.read_text(encoding="utf-8"))]


##### Modules


def missing_docstring(text: str) -> list[str]:
    """A module says what it is for, in a sentence."""
    docstring = (ast.get_docstring(ast.parse(text)) or "").strip()
    is_sentence = docstring.endswith((".", "!", "?")) or "\n" in docstring
    return [] if is_sentence else ["the module has no docstring that ends like a sentence"]


def too_long(text: str, allowed: int = MODULE_LINES_MAX) -> list[str]:
    """A module has one idea; one that does not fit has two."""
    lines = text.count("\n")
    return [f"{lines} lines (at most {allowed}): split it by idea"] if lines > allowed else []


def test_every_module_says_what_it_is_for() -> None:
    """A reader who opens any file learns its purpose first."""
    assert complaints(missing_docstring, python_files()) == []


def test_no_module_is_too_long() -> None:
    """Large ones are listed with their size, and only shrink."""
    found = [
        f"{relative(path)}: {what}"
        for path in python_files()
        for what in too_long(path.read_text(encoding="utf-8"), LARGE_MODULES.get(relative(path), MODULE_LINES_MAX))
    ]

    assert found == []
    assert [name for name in LARGE_MODULES if not (ROOT / name).exists()] == []


def test_canary_modules() -> None:
    """Both rules complain of a sinner."""
    assert missing_docstring("import os\n")
    assert missing_docstring('"""todo"""\n')
    assert not missing_docstring('"""Says what it is for."""\n')
    assert too_long("x = 1\n" * (MODULE_LINES_MAX + 1))
    assert not too_long("x = 1\n" * MODULE_LINES_MAX)


##### Public names


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in PUBLIC_NAMES.items() for name in names]
)
def test_a_public_name_stays(module: str, name: str) -> None:
    """It can be imported from where its users import it, and says what it is."""
    found = getattr(importlib.import_module(module), name)

    assert found.__doc__


def test_importing_holdfast_is_quick() -> None:
    """The package itself brings in nothing heavy: parts are paid for by those who import them."""
    code = "import sys, holdfast, holdfast.model; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"pandas", "fastapi", "httpx", "apprise", "rich", "exchange_calendars"} & set(loaded)


##### What must not be written down


def hosts_and_paths(text: str) -> list[str]:
    """No address of a package index, no path of somebody's machine."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        hits = [host for host in _INDEX_HOSTS if host in line]
        hits += [path for path in _MACHINE_PATHS if re.search(rf"(?<![\w.~/-]){re.escape(path)}", line)]
        found += [f"line {number} names {hit}" for hit in hits]
    return found


def test_no_index_and_no_machine_is_named() -> None:
    """The tree installs from whatever index its user has, and runs wherever it lies."""
    texts = [path for path in tracked_files() if path.suffix in _TEXT_SUFFIXES and path != Path(__file__).resolve()]

    assert complaints(hosts_and_paths, [path for path in texts if _is_text(path)]) == []


def test_canary_hosts_and_paths() -> None:
    """Both are found where they stand, and a harmless relative path is not."""
    assert hosts_and_paths(f"--index-url https://{_INDEX_HOSTS[0]}/simple")
    assert all(hosts_and_paths(f"see {path}x") for path in _MACHINE_PATHS)
    assert not hosts_and_paths("see docs" + _MACHINE_PATHS[1] + "x and https://example.com" + _MACHINE_PATHS[2] + "x")


def _is_text(path: Path) -> bool:
    return b"\0" not in path.read_bytes()[:8192]


##### Exceptions from the linter's rules


def unreasoned_exceptions(text: str) -> list[str]:
    """Each exception from a rule names the rule and says why, behind a dash; no file is exempt as a whole."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if re.search(r"#\s*(ruff|flake8)\s*:\s*noqa|#\s*mypy\s*:|#\s*isort\s*:", line):
            found.append(f"line {number} exempts more than itself")
        elif re.search(r"#\s*noqa\b", line) and not re.search(r"# noqa: [A-Z]+\d+(, [A-Z]+\d+)* - \S.{3,}", line):
            found.append(f"line {number}: a noqa needs codes and a reason ('# noqa: S101 - because')")
        elif re.search(r"#\s*type:\s*ignore", line) and not re.search(r"# type: ignore\[[a-z, -]+\]  # \S.{3,}", line):
            found.append(f"line {number}: a type: ignore needs codes and a reason ('# type: ignore[misc]  # because')")
    return found


def test_every_exception_from_a_rule_has_a_reason() -> None:
    """Who reads one later can judge whether it still holds."""
    paths = [path for path in python_files() if path != Path(__file__).resolve()]

    assert complaints(unreasoned_exceptions, paths) == []


def test_canary_exceptions() -> None:
    """Silent ones are found, reasoned ones pass."""
    for sin in (
        "x = 1  # noqa",
        "x = 1  # noqa: S101",
        "x = 1  # noqa: S101 because",
        "x = 1  # type: ignore",
        "x = 1  # type: ignore[misc]",
        "# ruff: noqa: E501",
        "# mypy: ignore-errors",
    ):
        assert unreasoned_exceptions(sin), sin
    assert not unreasoned_exceptions("x = 1  # noqa: S101, S102 - the reason why")
    assert not unreasoned_exceptions("x = 1  # type: ignore[misc, arg-type]  # the reason why")


@pytest.mark.parametrize(
    "sin",
    [
        "from datetime import datetime\n\nNOW = datetime.now()\n",
        "from datetime import UTC, datetime\n\nNOW = datetime.now(UTC)\n",
        "import datetime\n\nNOW = datetime.datetime.utcnow()\n",
        "from datetime import date\n\nTODAY = date.today()\n",
        "import time\n\nNOW = time.time()\n",
        "import time\n\nNOW = time.time_ns()\n",
        "from time import sleep\n\nsleep(1)\n",
        "import random\n\nX = random.random()\n",
        "from random import choice\n\nX = choice([1, 2])\n",
        "import uuid\n\nX = uuid.uuid4()\n",
        "from uuid import uuid4\n\nX = uuid4()\n",
    ],
)
def test_canary_banned_calls(sin: str) -> None:
    """The linter bans wall clocks, sleeps, chance and random ids, in every way to spell them, with a replacement."""
    result = _ruff("--select", "TID251", stdin=f'"""Sins."""\n\n{sin}')

    assert result.returncode == 1, result.stdout
    assert "TID251" in result.stdout


def test_every_rule_that_is_off_has_a_reason() -> None:
    """In the linter's own configuration too."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.partition("[tool.ruff.lint]\n")[2].partition("[tool.ruff.lint.pydocstyle]")[0]
    rules = [line for line in section.splitlines() if re.match(r"""\s+"[A-Z]+\d*",""", line)]

    assert len(rules) > 10
    assert [line for line in rules if not re.search(r"#\s*\S.{6,}", line)] == []
    assert _configuration()["tool"]["ruff"]["lint"]["select"] == ["ALL"]


def _ruff(*arguments: str, stdin: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--stdin-filename", "src/holdfast/sinner.py", *arguments, "-"],
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


##### Requirements


def pins(text: str) -> dict[str, list[str]]:
    """Every requirement of a file, as ``name==version ; marker``, and the hashes that it admits."""
    joined = re.sub(r"\\\n\s*", " ", text)
    found = {}
    for line in joined.splitlines():
        requirement, *hashes = re.split(r"\s+--hash=", line.strip())
        if requirement and not requirement.startswith("#"):
            found[requirement] = hashes
    return found


def unpinned(text: str) -> list[str]:
    """Every requirement has one exact version and at least one SHA-256, and nothing else stands in the file."""
    exact = re.compile(r"[a-z0-9][a-z0-9._-]*==[^\s;*]+( ; .+)?")
    return [
        f"{requirement!r} is not pinned and hashed"
        for requirement, hashes in pins(text).items()
        if not exact.fullmatch(requirement)
        or not hashes
        or not all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes)
    ]


def requirement_files() -> list[Path]:
    """The compiled ones."""
    return sorted((ROOT / "requirements").glob("*.txt"))


def test_requirements_are_pinned_and_hashed() -> None:
    """What is installed is what was reviewed, from whatever index it comes."""
    assert [path.name for path in requirement_files()] == ["build.txt", "dev.txt", "runtime.txt"]
    assert complaints(unpinned, requirement_files()) == []


def test_requirement_files_agree() -> None:
    """Development has everything that trading has, in the same versions; no two files want different ones."""
    by_file = {path.stem: set(pins(path.read_text(encoding="utf-8"))) for path in requirement_files()}
    versions: dict[str, set[str]] = {}
    for requirement in set().union(*by_file.values()):
        name, _, rest = requirement.partition("==")
        marker = rest.partition(" ; ")[2]
        versions.setdefault(f"{name} ; {marker}", set()).add(rest)

    assert by_file["runtime"] <= by_file["dev"]
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_requirements_cover_what_the_project_asks_for() -> None:
    """A dependency that was added to the project and not compiled would be missing on the next machine."""
    project = _configuration()["project"]
    for wanted, name in ((project["dependencies"], "runtime"), (project["optional-dependencies"]["dev"], "dev")):
        pinned = {
            line.partition("==")[0] for line in pins((ROOT / f"requirements/{name}.txt").read_text(encoding="utf-8"))
        }
        asked = {re.split(r"[<>=!~;\[ ]", dependency)[0].lower().replace("_", "-") for dependency in wanted}

        assert asked - pinned == set()


def test_canary_requirements() -> None:
    """A line without a hash, with a range, or with an address is found."""
    digest = "sha256:" + "0" * 64
    assert not unpinned(f"a==1 \\\n    --hash={digest}\nb==2 ; python_version < '3.12' \\\n    --hash={digest}\n")
    assert unpinned("a==1\n")
    assert unpinned(f"a>=1 --hash={digest}\n")
    assert unpinned(f"a==1 --hash={digest}\n--index-url https://example.com/simple\n")
    assert unpinned("a==1 --hash=md5:0\n")


##### Floors


def packages() -> set[str]:
    """The packages of holdfast, by the directories."""
    return {path.parent.name for path in SOURCE.glob("*/__init__.py")}


def floors(contract_id: str = "floors") -> Iterator[set[str]]:
    """The floors of an import contract, highest first; a name in brackets may be absent."""
    (contract,) = (c for c in _configuration()["tool"]["importlinter"]["contracts"] if c["id"] == contract_id)
    for layer in contract["layers"]:
        yield {name.strip() for name in re.split(r"[|:]", layer)}


def test_every_package_stands_on_a_floor() -> None:
    """And no floor holds a package that is not there."""
    named = set().union(*floors())

    assert packages() <= {name.strip("()") for name in named}
    assert {name for name in named if not name.startswith("(")} <= packages()


def test_canary_floors(tmp_path: Path) -> None:
    """The contracts see a kernel that opens a socket, a floor that imports a higher one, and a venue that peeks."""
    tree = _toy_tree(tmp_path)
    assert _lint_imports(tree).returncode == 0, _lint_imports(tree).stdout

    for package, sin, contract in (
        ("kernel", "import socket", "do no I/O"),
        ("state", "import asyncio", "never waits"),
        ("model", "import holdfast.time", "Lower floors"),
        ("strategies", "from holdfast import runner", "Lower floors"),
        ("venue", "import holdfast.brokers", "other side of the wire"),
        ("venue/matching", "import holdfast.venue.accounts", "nothing of the venue around it"),
        ("net", "import holdfast.market", "knows nothing of markets"),
        ("newcomer", "", "Lower floors"),
    ):
        module = tree / "holdfast" / package / "__init__.py"
        module.parent.mkdir(exist_ok=True)
        before = module.read_text(encoding="utf-8") if module.exists() else None
        module.write_text(sin + "\n", encoding="utf-8")
        result = _lint_imports(tree)
        assert result.returncode == 1, f"{package}: {sin}"
        assert contract in result.stdout.partition("Broken contracts")[2] or before is None, result.stdout
        module.write_text(before or "", encoding="utf-8")
        if before is None:
            module.unlink()
            module.parent.rmdir()


def _toy_tree(place: Path) -> Path:
    """A holdfast of empty packages, with the real contracts."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (place / "pyproject.toml").write_text(text[text.index("[tool.importlinter]") :], encoding="utf-8")
    inside = (f"venue/{name}" for name in set().union(*floors("venue-floors")))
    for name in ("", *set().union(*floors()), *inside):
        package = place / "holdfast" / name.strip("()")
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text("", encoding="utf-8")
    return place


def _lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(tree)!r}); from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache"], cwd=tree, capture_output=True, text=True, check=False
    )


##### Documents


def broken_links(path: Path) -> list[str]:
    """Links to files that are not there."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text)
    return [
        f"{relative(path) if path.is_relative_to(ROOT) else path.name}: {target} is not there"
        for target in targets
        if not re.match(r"[a-z]+:|#", target) and not (path.parent / target.partition("#")[0]).exists()
    ]


def test_links_between_documents_lead_somewhere() -> None:
    """A reader who follows one arrives."""
    assert [link for path in tracked_files() if path.suffix == ".md" for link in broken_links(path)] == []


def test_canary_links(tmp_path: Path) -> None:
    """A dead one is found, a live one and one to elsewhere pass."""
    page = tmp_path / "page.md"
    page.write_text("[a](page.md#top) [b](https://example.com) [c](nowhere.md)", encoding="utf-8")

    assert broken_links(page) == ["page.md: nowhere.md is not there"]


def broken_examples(text: str) -> list[str]:
    """Python in a document that is none; a top-level await is fine, as in a notebook."""
    found = []
    for block in re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        try:
            compile(block, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        except SyntaxError as error:
            found.append(f"{error.msg}: {(error.text or '').strip()}")
    return found


def test_examples_in_documents_are_python() -> None:
    """What a reader copies at least compiles."""
    assert complaints(broken_examples, [path for path in tracked_files() if path.suffix == ".md"]) == []


def test_canary_examples() -> None:
    """Prose in a code block is found."""
    assert broken_examples("```python\nthis is no python\n```\n")
    assert not broken_examples("```python\nx = await y()\n```\n")


@pytest.mark.parametrize(
    "name", ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "NOTICE", "docs/ARCHITECTURE.md"]
)
def test_the_house_has_its_documents(name: str) -> None:
    """Each is there and says something."""
    assert (ROOT / name).read_text(encoding="utf-8").strip()


def test_the_changelog_speaks_of_this_version() -> None:
    """Or of what is yet unreleased."""
    version = _configuration()["project"]["version"]
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert importlib.import_module("holdfast").__version__ == version
    assert "## [Unreleased]" in text or f"## [{version}]" in text


def _configuration() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
