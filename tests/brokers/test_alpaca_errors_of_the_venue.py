"""Every "no" that the built-in venue can say is known to the connector's table of errors."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import holdfast.venue
from holdfast.brokers.alpaca_errors import REFUSALS, Answer, rule_for
from holdfast.model import Outcome
from holdfast.venue.matching import orders
from holdfast.venue.matching.rules import Rule

ROOT = Path(holdfast.venue.__file__).parent

# The functions that say no, and the status and code that each has; None: they are its arguments.
MAKERS: dict[str, tuple[int, int] | None] = {
    "Refusal": None,
    "refuse": None,
    "invalid": (422, orders.INVALID),
    "refuse_invalid": (422, orders.INVALID),
    "unprocessable": (422, orders.UNPROCESSABLE),
    "refuse_unprocessable": (422, orders.UNPROCESSABLE),
    "forbidden": (403, orders.FORBIDDEN),
    "not_found": (404, orders.NOT_FOUND),
    "refuse_missing": (404, orders.NOT_FOUND),
}


class Said(NamedTuple):
    """One place of the venue that refuses."""

    where: str
    status: int
    code: int
    text: str


def _text(node: ast.expr, assigned: dict[str, str]) -> str:
    """The words, with 1 in the place of whatever is filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "1" for part in node.values)
    if isinstance(node, ast.Name):
        return assigned.get(node.id, "")
    return ""


def _number(node: ast.expr, module: str) -> int | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.Name):
        found = getattr(importlib.import_module(module), node.id, None)
        return found if isinstance(found, int) else None
    return None


def refusals_in(path: Path, module: str) -> Iterator[Said]:
    """All calls of ``MAKERS`` in a module, save those inside the makers themselves."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    for scope in (tree, *functions):
        if isinstance(scope, ast.FunctionDef) and scope.name in MAKERS:
            continue
        inside = list(ast.walk(scope))
        nested = {id(n) for f in functions if f is not scope and f in inside for n in ast.walk(f)}
        assigned: dict[str, str] = {}
        for node in inside:
            if id(node) in nested:
                continue
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                assigned[node.targets[0].id] = _text(node.value, assigned)
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS):
                continue
            fixed, arguments = MAKERS[node.func.id], node.args
            if fixed is None:
                status, code = _number(arguments[0], module), _number(arguments[1], module)
                if status is None or code is None:
                    continue
                fixed, arguments = (status, code), arguments[2:]
            yield Said(f"{module}:{node.lineno}", *fixed, _text(arguments[0], assigned))


ALL = [
    said
    for path in sorted(ROOT.rglob("*.py"))
    if path.name != "operator.py"  # what the admin port tells an operator is said to no client
    for said in refusals_in(
        path, ".".join(("holdfast.venue", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    )
] + [Said(f"rules:{rule.name}", rule.status, rule.code, re.sub(r"{\w+}", "1", rule.text)) for rule in Rule]


@pytest.mark.parametrize("said", ALL, ids=str)
def test_every_refusal_of_the_venue_is_known(said: Said) -> None:
    """To whoever sends an order it is a definite no of a kind, our keys, a limit, or an id that is taken; never a surprise."""
    answer = Answer(said.code or None, said.text, is_alpaca=True)
    rule = rule_for("POST", said.status, answer)

    if (said.status, said.code) not in REFUSALS and said.status not in (401, 429):
        # What only reads are told, and what no client of ours asks for.
        assert rule.outcome is Outcome.UNLISTED
        assert rule_for("GET", said.status, answer).outcome is Outcome.REFUSED
        assert said.status in (400, 403, 405)
    else:
        assert rule.outcome in (Outcome.REFUSED, Outcome.ID_TAKEN, Outcome.RATE_LIMITED)


def test_the_walk_finds_what_the_venue_says() -> None:
    """Canary: texts written in place, texts assigned first, texts with something filled in, and codes by name."""
    texts = {said.text for said in ALL}

    assert len(ALL) > 80
    assert {"insufficient buying power", "client_order_id must be unique", "asset not found for 1"} <= texts
    assert (400, 40010000) in {(said.status, said.code) for said in ALL}
