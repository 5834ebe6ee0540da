"""A Prometheus on this machine (shell): where it is, what it scrapes, and running it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from services.local.ports import why_not_free
from services.local.processes.background import background, last_lines

FILES: Final = Path(__file__).parents[3] / "charts" / "auralis" / "files"
"""Alert rules and dashboards; the chart installs the same files."""
START_TIMEOUT_S: Final = 30.0
_POLL_S: Final = 0.1
"""Pause between two looks at Prometheus' readiness."""


class MonitoringError(Exception):
    """Prometheus cannot run; the message says why and what to do."""


def find_program(*names: str) -> Path | None:
    """The first of `names` that is on PATH or in the folder of AURALIS_TOOLS; None if there is none."""
    extra = os.environ.get("AURALIS_TOOLS", "")
    for name in names:
        if found := shutil.which(name) or (shutil.which(name, path=extra) if extra else None):
            return Path(found)
    return None


def find_prometheus() -> Path:
    """The Prometheus program.

    Raises:
        MonitoringError: it is not installed.
    """
    found = find_program("prometheus")
    if found is None:
        raise MonitoringError(
            "prometheus is neither on PATH nor in the folder that AURALIS_TOOLS names: install it "
            "(`apt install prometheus`, `brew install prometheus`, or its release archive) and try again"
        )
    return found


def configuration(telemetry_url: str, *, every_s: float = 5.0) -> dict[str, Any]:
    """Prometheus' configuration: it scrapes the whole fleet through telemetry and evaluates the chart's rules.

    Args:
        telemetry_url: http://host:port of telemetry.
        every_s: seconds between two scrapes and two evaluations; rounded, 1 or more.

    Raises:
        MonitoringError: the rules are missing.
    """
    rules = FILES / "alerts.yaml"
    if not rules.is_file():
        raise MonitoringError(f"{rules} does not exist: monitoring needs the repository, not the package alone")
    every = f"{max(1, round(every_s))}s"
    parts = urlsplit(telemetry_url)
    return {
        "global": {"scrape_interval": every, "evaluation_interval": every, "scrape_timeout": every},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {
                "job_name": "auralis",
                # Samples come with the labels of the instance that they are about.
                "honor_labels": True,
                "scheme": parts.scheme,
                "metrics_path": "/metrics",
                "static_configs": [{"targets": [parts.netloc]}],
            }
        ],
    }


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus that `running` started.

    Attributes:
        url: its address, without a slash at the end.
        process: the program.
        log: its output.
    """

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Check that it still runs.

        Raises:
            MonitoringError: it has ended; with the last lines of its log.
        """
        if self.process.poll() is not None:
            raise MonitoringError(f"Prometheus at {self.url} has ended:\n{last_lines(self.log)}")

    def get(self, path: str, **query: str) -> Any:
        """The `data` of an answer of its API.

        Raises:
            OSError: it does not answer, or answers with an error.
        """
        address = f"{self.url}/api/v1/{path}" + (f"?{urlencode(query)}" if query else "")
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - our own address
            return json.load(answer)["data"]

    def alerts(self) -> dict[str, str]:
        """Active alerts: name -> "pending" or "firing"; an alert that does both counts as firing."""
        found: dict[str, str] = {}
        for each in self.get("alerts")["alerts"]:
            name = each["labels"]["alertname"]
            if found.get(name) != "firing":
                found[name] = each["state"]
        return found


@contextlib.contextmanager
def running(folder: Path, telemetry_url: str, *, port: int, every_s: float = 5.0) -> Iterator[Prometheus]:
    """Run a Prometheus for the time of a `with` block.

    Args:
        folder: holds its configuration, data and log.
        telemetry_url: http://host:port to scrape.
        port: where it listens, on 127.0.0.1.
        every_s: seconds between two scrapes.

    Raises:
        MonitoringError: it is not installed, its port is in use, or it does not start.
    """
    program = find_prometheus()
    # A Prometheus that runs there already would answer in the place of the new one.
    if reason := why_not_free("127.0.0.1", port):
        raise MonitoringError(f"Prometheus cannot listen: {reason}; stop that first, or choose another port")
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "prometheus.yml"
    # JSON is YAML too.
    config.write_text(json.dumps(configuration(telemetry_url, every_s=every_s), indent=2) + "\n")
    log = folder / "prometheus.log"
    command = [
        str(program), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=2d", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with background(command, log=log) as process:
        server = Prometheus(f"http://127.0.0.1:{port}", process, log)
        _wait_until_ready(server)
        yield server


def _wait_until_ready(server: Prometheus) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        if server.process.poll() is not None or time.monotonic() > deadline_s:
            raise MonitoringError(f"Prometheus did not start at {server.url}:\n{last_lines(server.log)}")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{server.url}/-/ready", timeout=2) as answer:  # noqa: S310 - our own address
            if answer.status == 200:
                return
        time.sleep(_POLL_S)
