"""docs/operations.md and loadtests/README.md: what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "operations.md", ROOT / "loadtests" / "README.md", *sorted((ROOT / "k8s").glob("*"))]
VALUES = yaml.safe_load((ROOT / "charts" / "auralis" / "values.yaml").read_text())
PARTS = ("synthesis", "edge", "telemetry", "nats", "networkPolicy", "monitoring", "image", "settings", "tests")


def is_value(path: str) -> bool:
    known = VALUES
    for name in path.split("."):
        if not isinstance(known, dict) or name not in known:
            return False
        known = known[name]
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    named = set(re.findall(r"(?<![\w/])((?:k8s|docs|charts|tests|loadtests|scripts)/[\w./-]*\w)", page.read_text()))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_values_that_are_named_are_values_of_the_chart(page: Path) -> None:
    text = page.read_text()
    named = set(re.findall(rf"`((?:{'|'.join(PARTS)})\.[\w.]+)", text))
    named |= {name for name in re.findall(r"--set(?:-\w+)? '?([\w.]+)=", text) if name.partition(".")[0] in PARTS}
    assert [name for name in sorted(named) if not is_value(name)] == []


def test_nothing_is_left_to_be_filled_in() -> None:
    for page in PAGES:
        assert re.findall(r"@[A-Z]{3,}@|TODO|XXX", page.read_text()) == [], page.name


def test_alerts_that_the_table_names_have_pages() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    assert len(re.findall(r"docs/runbooks/\w+\.md", text)) >= 2
