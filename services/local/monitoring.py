"""`auralis monitoring` (shell): Prometheus, and Grafana if it is installed, beside `auralis up`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rich.console import Console

from services.local.processes import prometheus_server
from services.local.processes.background import background
from services.local.processes.prometheus_server import FILES, MonitoringError, find_program
from services.runtime.settings import load_settings_or_exit

GRAFANA_PORT: Final = 3190


def run(*, folder: Path, port: int) -> int:
    """Run until Ctrl-C or SIGTERM.

    Args:
        folder: holds data, logs and configuration.
        port: where Prometheus listens, on 127.0.0.1.

    Returns:
        Exit status: 0 after a stop, 1 if Prometheus is missing, cannot start or has ended.
    """
    console = Console(highlight=False, soft_wrap=True)
    settings = load_settings_or_exit()
    telemetry = f"http://127.0.0.1:{settings.metrics_port}"
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    try:
        with prometheus_server.running(folder.absolute(), telemetry, port=port) as server:
            console.print(f"✓ Prometheus at {server.url}, rules at {server.url}/alerts")
            if not _answers(f"{telemetry}/healthz"):
                console.print(
                    f"! Telemetry does not answer at {telemetry} yet: `make up` in another terminal starts it"
                )
            with _grafana(folder.absolute(), server.url) as address:
                if address:
                    console.print(f"✓ Grafana at {address}/d/auralis-fleet")
                else:
                    console.print("· Grafana is not installed (grafana-server on PATH): the dashboard is at", telemetry)
                console.print(f"  With AURALIS_PROMETHEUS_URL={server.url} the fleet's dashboard shows these alerts")
                console.print("  Ctrl-C stops everything.")
                while not stopping.wait(1.0):
                    server.check()
    except MonitoringError as error:
        console.print(f"✗ {error}", style="bold red")
        return 1
    return 0


def provision(folder: Path, prometheus_url: str) -> Path:
    """Write Grafana's provisioning (data source and the chart's dashboards) into `folder`; returns its folder."""
    provisioning = folder / "provisioning"
    files = {
        "datasources/prometheus.yaml": {
            "apiVersion": 1,
            "datasources": [
                {
                    "name": "Prometheus",
                    "type": "prometheus",
                    "access": "proxy",
                    "url": prometheus_url,
                    "isDefault": True,
                }
            ],
        },
        "dashboards/auralis.yaml": {
            "apiVersion": 1,
            "providers": [{"name": "Auralis", "type": "file", "options": {"path": str(FILES / "dashboards")}}],
        },
    }
    for name, content in files.items():
        path = provisioning / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # JSON is YAML too.
        path.write_text(json.dumps(content, indent=2) + "\n")
    return provisioning


@contextlib.contextmanager
def _grafana(folder: Path, prometheus_url: str) -> Iterator[str]:
    """Run Grafana for the time of a `with` block; yields its address, or "" if it is not installed."""
    program = find_program("grafana-server", "grafana")
    if program is None:
        yield ""
        return
    home = next((path for path in (Path("/usr/share/grafana"), program.resolve().parents[1]) if path.is_dir()), folder)
    environ = {
        **os.environ,
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(GRAFANA_PORT),
        "GF_PATHS_DATA": str(folder / "grafana"),
        "GF_PATHS_LOGS": str(folder / "grafana"),
        "GF_PATHS_PROVISIONING": str(provision(folder, prometheus_url)),
        # It listens on loopback only: users of this machine need no password.
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    }
    command = [str(program), *(["server"] if program.name == "grafana" else []), "--homepath", str(home)]
    with background(command, log=folder / "grafana.log", environ=environ):
        yield f"http://127.0.0.1:{GRAFANA_PORT}"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)
    except OSError:
        return False
