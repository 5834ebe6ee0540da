"""One fleet for all faults, and the file of measured figures."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.local.doctor import machine
from tests.faults.support import Figures
from tests.support.fleet import Fleet
from tests.support.small_disk import small_disk
from tests.support.system import REPO

RESULTS = Path(os.environ.get("AURALIS_FAULTS_JSON", REPO / "build" / "faults.json"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and hasattr(getattr(item, "function", None), "row"):
            item.add_marker(pytest.mark.faults)


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> Iterator[Figures]:
    """Figures of the running test; they are printed and kept in RESULTS."""
    began_s = time.monotonic()
    measured = Figures()
    yield measured
    if measured.verdict is not None:
        name = request.node.originalname
        print(f"\n{name}: {json.dumps(measured.to_json())}")  # noqa: T201 - figures for the reader of the run
        _keep(name, {**measured.to_json(), "seconds": round(time.monotonic() - began_s, 1)})


def _keep(name: str, row: dict[str, Any]) -> None:
    """Put a row into the file and keep the rows of other tests."""
    asked = ["git", "-C", REPO, "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    kept = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
    result = {
        "machine": {"processor": machine.processor().observed, "system": platform.system()},
        "rows": {**kept, name: {**row, "commit": commit}},
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n")


@pytest.fixture(scope="session")
def _running_fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with (
        small_disk(tmp_path_factory.mktemp("disk")) as store,
        Fleet(tmp_path_factory.mktemp("fleet"), store=store) as fleet,
    ):
        for name in ("synthesis-1", "synthesis-2", "edge-1", "edge-2", "telemetry"):
            # The services as they are, except that one stream fails.
            module = "tests.support.poisoned_renderer" if name.startswith("synthesis") else ""
            fleet.add(name, module=module, AURALIS_DRAIN_SECONDS="2", WS_MAX_CONNECTIONS="5000")
        yield fleet


@pytest.fixture
async def fleet(_running_fleet: Fleet) -> Fleet:
    """Two renderers, two edges and telemetry on one bus, restored before each test."""
    await _running_fleet.restored()
    return _running_fleet
