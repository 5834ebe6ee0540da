from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).parents[2]


def test_the_settings_table_is_what_the_code_reads() -> None:
    done = subprocess.run(
        [sys.executable, REPO / "scripts/readme", "--check"],
        env={**os.environ, "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_linked_file_is_there() -> None:
    for document in REPO.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target:
                assert (REPO / target).exists(), f"{document.name} links {target}"


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPO / "Makefile").read_text(), re.MULTILINE))
    for document in REPO.glob("*.md"):
        for named in re.findall(r"\bmake ([a-z-]+)\b", document.read_text()):
            if named not in ("different", "noise"):
                assert named in targets, f"{document.name} names make {named}"
