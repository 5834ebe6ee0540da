"""A Prometheus for one machine: finding one, telling it what to scrape, starting it."""

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

FILES: Final = Path(__file__).parents[3] / "charts" / "auralis" / "files"
"""Rules and dashboards, the same that the chart installs."""
START_TIMEOUT_S: Final = 30.0


class MonitoringError(Exception):
    """Something is missing; the message is a sentence that says what to do."""


def find_program(*names: str) -> Path | None:
    """The first of the programs that is on PATH or in the folder that AURALIS_TOOLS names."""
    extra = os.environ.get("AURALIS_TOOLS", "")
    for name in names:
        if found := shutil.which(name) or (shutil.which(name, path=extra) if extra else None):
            return Path(found)
    return None


def find_prometheus() -> Path:
    """Prometheus' own program.

    Raises:
        MonitoringError: there is none.
    """
    found = find_program("prometheus")
    if found is None:
        raise MonitoringError(
            "prometheus is neither on PATH nor in the folder that AURALIS_TOOLS names: install it "
            "(`apt install prometheus`, `brew install prometheus`, or its release archive) and try again"
        )
    return found


def configuration(telemetry_url: str, *, every_s: float = 5.0) -> dict[str, Any]:
    """What Prometheus is told: the whole fleet through telemetry, and the chart's own rules.

    Args:
        telemetry_url: http://host:port of telemetry.
        every_s: seconds between two scrapes and two judgements.

    Raises:
        MonitoringError: the rules are not there.
    """
    rules = FILES / "alerts.yaml"
    if not rules.is_file():
        raise MonitoringError(f"{rules} is not there: monitoring needs the repository, not the package alone")
    every = f"{max(1, round(every_s))}s"
    parts = urlsplit(telemetry_url)
    return {
        "global": {"scrape_interval": every, "evaluation_interval": every, "scrape_timeout": every},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {
                "job_name": "auralis",
                # Telemetry says whose samples they are.
                "honor_labels": True,
                "scheme": parts.scheme,
                "metrics_path": "/metrics",
                "static_configs": [{"targets": [parts.netloc]}],
            }
        ],
    }


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus that was started here."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Look whether it still runs.

        Raises:
            MonitoringError: it has ended; with the last lines of its log.
        """
        if self.process.poll() is not None:
            raise MonitoringError(f"Prometheus at {self.url} has ended:\n{_tail(self.log)}")

    def get(self, path: str, **query: str) -> Any:
        """The `data` of an answer of its API.

        Raises:
            OSError: it does not answer, or not with success.
        """
        address = f"{self.url}/api/v1/{path}" + (f"?{urlencode(query)}" if query else "")
        with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - our own address
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """An instant query's result."""
        found: list[dict[str, Any]] = self.get("query", query=expression)["result"]
        return found

    def alerts(self) -> dict[str, str]:
        """State by name of the alerts that are active now; firing hides pending."""
        found: dict[str, str] = {}
        for each in self.get("alerts")["alerts"]:
            name = each["labels"]["alertname"]
            if found.get(name) != "firing":
                found[name] = each["state"]
        return found


@contextlib.contextmanager
def running(folder: Path, telemetry_url: str, *, port: int, every_s: float = 5.0) -> Iterator[Prometheus]:
    """A Prometheus for the time of a `with` block.

    Args:
        folder: for its configuration, its data and its log.
        telemetry_url: what it scrapes.
        port: on 127.0.0.1.
        every_s: seconds between two scrapes.

    Raises:
        MonitoringError: there is none, its port is taken, or it does not start.
    """
    program = find_prometheus()
    # One that runs there already would answer in the new one's place.
    if reason := why_not_free("127.0.0.1", port):
        raise MonitoringError(f"Prometheus cannot listen: {reason}; stop that first, or name another port")
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "prometheus.yml"
    # JSON is YAML too.
    config.write_text(json.dumps(configuration(telemetry_url, every_s=every_s), indent=2) + "\n")
    log_path = folder / "prometheus.log"
    command = [
        str(program), f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=2d", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with log_path.open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:  # noqa: S603 - found above
        server = Prometheus(f"http://127.0.0.1:{port}", process, log_path)
        try:
            _wait(server)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(server: Prometheus) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        if server.process.poll() is not None or time.monotonic() > deadline_s:
            raise MonitoringError(f"Prometheus did not start at {server.url}:\n{_tail(server.log)}")
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{server.url}/-/ready", timeout=2) as answer:  # noqa: S310 - our own address
            if answer.status == 200:
                return
        time.sleep(0.1)


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-5:])
