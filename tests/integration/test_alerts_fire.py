"""A real Prometheus with the shipped rules watches a real system: dashboards have data, an alert fires and resolves."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.local.processes import prometheus_server
from services.local.processes.prometheus_server import Prometheus
from tests.support.fleet_load import listeners, process_of, slowed
from tests.support.ports import free_port
from tests.support.system import REPO, System
from tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        prometheus_server.find_program("prometheus") is None,
        reason="prometheus is neither on PATH nor in the folder that AURALIS_TOOLS names",
    ),
]
DASHBOARDS = sorted((prometheus_server.FILES / "dashboards").glob("*.json"))


def wait_for(server: Prometheus, alert: str, states: set[str | None], timeout_s: float) -> float:
    """Seconds until the alert was in one of the states (None: not active)."""
    began_s = time.monotonic()
    wait_until(lambda: server.alerts().get(alert) in states, timeout_s, every_s=0.5)
    return time.monotonic() - began_s


def timeline(server: Prometheus, alert: str, since_s: float) -> dict[str, tuple[float, float]]:
    """First and last time of each state of the alert, in seconds after `since_s` (unix seconds)."""
    found = server.get(
        "query_range", query=f'ALERTS{{alertname="{alert}"}}', start=str(since_s), end=str(time.time()), step="1"
    )
    return {
        each["metric"]["alertstate"]: (each["values"][0][0] - since_s, each["values"][-1][0] - since_s)
        for each in found["result"]
    }


def unanswered(server: Prometheus) -> list[str]:
    """Queries of the dashboards that have no data now; what only kube-state-metrics has is not asked for."""
    missing = []
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                if target["expr"].startswith("kube_"):
                    continue
                query = target["expr"].replace("$__rate_interval", "1m").replace("$namespace", ".*")
                values = [float(each["value"][1]) for each in server.query(query)]
                if not any(not math.isnan(value) for value in values):
                    missing.append(f"{panel['title']}: {query}")
    return missing


def test_dashboards_have_data_and_a_slow_renderers_alert_fires_and_resolves(system: System, tmp_path: Path) -> None:
    port = free_port()
    with (
        prometheus_server.running(tmp_path, system.telemetry_url, port=port, every_s=1) as server,
        listeners(system.ws_url, 4),
    ):
        time.sleep(10)  # Prometheus must have scraped the fleet a few times before the next listeners come
        # Rates of first sounds need listeners that connect between two scrapes.
        with listeners(system.ws_url, 5):
            wait_until(lambda: not unanswered(server), 60, every_s=2)
        assert server.alerts().get("SynthesisLatencyHigh") != "firing"

        slow_s = time.time()
        with slowed(process_of(system.process.pid, "services.synthesis")):
            done = subprocess.run(
                [sys.executable, REPO / "tests/guide/scripts/test_alert_rules.py"],
                env={**os.environ, "PYTHONPATH": str(REPO), "PROMETHEUS_PORT": str(port)},
                capture_output=True, text=True, timeout=90, check=False,
            )  # fmt: skip
            print(done.stdout)  # noqa: T201 - figures for the report
            assert done.returncode == 0, done.stdout + done.stderr
            assert "Alert rule triggered correctly for high latency" in done.stdout
            wait_for(server, "SynthesisLatencyHigh", {"firing"}, 120)
        well_s = time.time() - slow_s
        (alert,) = (a for a in server.get("alerts")["alerts"] if a["labels"]["alertname"] == "SynthesisLatencyHigh")
        assert alert["labels"]["severity"] == "warning"
        assert alert["annotations"]["runbook_url"] == "docs/runbooks/SynthesisLatencyHigh.md"
        assert "p99 render latency" in alert["annotations"]["description"]
        wait_for(server, "SynthesisLatencyHigh", {None}, 240)
        times = timeline(server, "SynthesisLatencyHigh", slow_s)
        pending_s, (firing_s, last_s) = times["pending"][0], times["firing"]
        assert 0 < pending_s < firing_s < last_s, times
        # Times are in steps of a second.
        assert firing_s < well_s + 2 < last_s, (times, well_s)
        print(  # noqa: T201 - as above
            f"slowed at 0 s, pending at {pending_s:.0f} s, firing at {firing_s:.0f} s; "
            f"let go at {well_s:.0f} s, resolved at {last_s + 1:.0f} s"
        )
        print(alert["annotations"]["description"])  # noqa: T201 - as above
