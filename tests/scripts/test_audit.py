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


VULNERABLE = {
    "name": "leaky",
    "version": "1.0",
    "vulns": [{"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["1.1"], "description": "…"}],
}


def answer(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, dependencies: list[dict[str, Any]] | None, code: int = 0
) -> int:
    """The exit status for these dependencies in pip-audit's answer; None: pip-audit fails."""
    out = "" if dependencies is None else json.dumps({"dependencies": dependencies, "fixes": []})
    done = subprocess.CompletedProcess([], code, out, "Traceback\nConnectionError: no such host")
    monkeypatch.setattr(audit.subprocess, "run", lambda *_args, **_options: done)
    status: int = audit.main()
    return status


def test_a_known_vulnerability_fails_and_says_what_to_do(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(audit, monkeypatch, [clean("a"), VULNERABLE], 1) == 1
    text = capsys.readouterr().out
    assert "leaky 1.0: PYSEC-2026-1; fixed in 1.1" in text
    assert "constraints.txt" in text
    # The same if the database does not know most packages.
    assert answer(audit, monkeypatch, [skipped("a"), skipped("b"), VULNERABLE], 1) == 1


def test_an_accepted_vulnerability_does_not_fail(audit: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "ACCEPTED", {"CVE-2026-1": "we never call it"})
    assert answer(audit, monkeypatch, [clean("a"), VULNERABLE], 1) == 0


@pytest.mark.parametrize("dependencies", [None, [skipped("a"), skipped("b"), clean("c")]])
def test_a_database_out_of_reach_is_one_line_and_fails_only_if_it_is_required(
    audit: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    dependencies: list[dict[str, Any]] | None,
) -> None:
    monkeypatch.delenv("AURALIS_AUDIT_REQUIRED", raising=False)
    assert answer(audit, monkeypatch, dependencies) == 0
    text = capsys.readouterr().out
    assert text.count("\n") == 1
    assert "not done" in text
    monkeypatch.setenv("AURALIS_AUDIT_REQUIRED", "1")
    assert answer(audit, monkeypatch, dependencies) == 1


def test_clean_dependencies_pass(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(audit, monkeypatch, [clean("a"), clean("b"), skipped("ours")]) == 0
    assert "2 packages without a known vulnerability, 1 not in the database" in capsys.readouterr().out


def test_every_accepted_vulnerability_has_a_reason(audit: ModuleType) -> None:
    assert all(audit.ACCEPTED.values())
