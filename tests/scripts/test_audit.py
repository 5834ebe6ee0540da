from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PATH = Path(__file__).parents[2] / "scripts" / "audit.py"


@pytest.fixture
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def clean(name: str) -> dict[str, Any]:
    return {"name": name, "version": "1.0", "vulns": []}


def skipped(name: str) -> dict[str, Any]:
    return {"name": name, "skip_reason": "Dependency not found on PyPI and could not be audited"}


HOLE = {
    "name": "leaky",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["1.1"], "description": "…"}],
}


def answer(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, dependencies: list[dict[str, Any]] | None, code: int = 0
) -> int:
    """The exit status where pip-audit answers so; None: where it breaks."""
    out = "" if dependencies is None else json.dumps({"dependencies": dependencies, "fixes": []})
    done = subprocess.CompletedProcess([], code, out, "Traceback\nConnectionError: no such host")
    monkeypatch.setattr(audit.subprocess, "run", lambda *_args, **_options: done)
    status: int = audit.main()
    return status


def test_a_known_vulnerability_fails_and_says_what_to_do(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(audit, monkeypatch, [clean("a"), HOLE], 1) == 1
    said = capsys.readouterr().out
    assert "leaky 1.0: PYSEC-2026-1; mended in 1.1" in said
    assert "constraints.txt" in said
    # Also where most of the database is out of reach.
    assert answer(audit, monkeypatch, [skipped("a"), skipped("b"), HOLE], 1) == 1


def test_an_accepted_vulnerability_does_not_fail(audit: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "ACCEPTED", {"CVE-2026-1": "we never call it"})
    assert answer(audit, monkeypatch, [clean("a"), HOLE], 1) == 0


@pytest.mark.parametrize("dependencies", [None, [skipped("a"), skipped("b"), clean("c")]])
def test_a_database_out_of_reach_is_one_line_and_fails_only_where_it_is_required(
    audit: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    dependencies: list[dict[str, Any]] | None,
) -> None:
    monkeypatch.delenv("AURALIS_AUDIT_REQUIRED", raising=False)
    assert answer(audit, monkeypatch, dependencies) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "not done" in said
    monkeypatch.setenv("AURALIS_AUDIT_REQUIRED", "1")
    assert answer(audit, monkeypatch, dependencies) == 1


def test_clean_dependencies_pass(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(audit, monkeypatch, [clean("a"), clean("b"), skipped("ours")]) == 0
    assert "2 packages without a known vulnerability, 1 not in the database" in capsys.readouterr().out


def test_every_accepted_vulnerability_has_a_reason(audit: ModuleType) -> None:
    assert all(audit.ACCEPTED.values())
