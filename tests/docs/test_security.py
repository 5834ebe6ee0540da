from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPO = Path(__file__).parents[2]
PAGE = (REPO / "docs" / "security.md").read_text()
CLAIMS = sorted(set(re.findall(r"`(tests/[a-z_/]+\.py)::([a-z_0-9]+)`", PAGE)))


@pytest.mark.parametrize(("path", "name"), CLAIMS, ids=[name for _, name in CLAIMS])
def test_every_test_that_the_page_names_exists(path: str, name: str) -> None:
    tree = ast.parse((REPO / path).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_row_of_a_table_of_claims_names_a_test() -> None:
    held = False
    for line in PAGE.splitlines():
        if not line.startswith("|"):
            held = False
        elif "held by |" in line:
            held = True
        elif held and not line.startswith("|---"):
            assert "::test_" in line, line


def project() -> dict[str, Any]:
    return tomllib.loads((REPO / "pyproject.toml").read_text())


def test_every_dependency_is_pinned() -> None:
    pinned = {
        canonicalize_name(line.partition("==")[0])
        for line in (REPO / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    about = project()["project"]
    services = {"edge", "telemetry", "synthesis", "client", "up", "traces"}
    wanted = [Requirement(text) for text in about["dependencies"]]
    wanted += [Requirement(text) for name in services for text in about["optional-dependencies"][name]]
    seen: set[str] = set()
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker is not None and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in (requirement.extras or {""})
        ):
            continue
        assert name in pinned, f"{name} is not in constraints.txt; make constraints"
        for extra in (*requirement.extras, ""):
            if f"{name}[{extra}]" in seen:
                continue
            seen.add(f"{name}[{extra}]")
            for text in distribution(name).requires or ():
                inner = Requirement(text)
                if inner.marker is None or inner.marker.evaluate({"extra": extra}):
                    inner.marker = None
                    wanted.append(inner)
    assert len(seen) > 40


def test_rules_for_security_are_switched_off_by_the_line_and_nowhere_else() -> None:
    lint = project()["tool"]["ruff"]["lint"]
    assert lint["select"] == ["ALL"]
    assert not [rule for rule in lint["ignore"] if re.fullmatch(r"S\d*", rule)]
    for pattern, rules in lint["per-file-ignores"].items():
        if not pattern.startswith("tests/"):
            assert not [rule for rule in rules if re.fullmatch(r"S\d*|ALL", rule)], pattern
    bare = [
        f"{path.relative_to(REPO)}:{number}"
        for folder in ("services", "benchmarks", "scripts", "loadtests")
        for path in (REPO / folder).rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"#\s*ruff:\s*noqa|#\s*noqa\s*($|[^:])", line)
    ]
    assert bare == []
