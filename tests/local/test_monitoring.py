"""`auralis monitoring` with a program that behaves as Prometheus does at its start and end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.local.ports import free_ports

FAKE_PROMETHEUS = f"""#!{sys.executable}
import http.server, signal, sys

port = int(next(each for each in sys.argv if each.startswith("--web.listen-address")).rpartition(":")[2])

class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

def stop(*_):
    print("stopped in order", flush=True)
    sys.exit(0)

signal.signal(signal.SIGTERM, stop)
http.server.HTTPServer(("127.0.0.1", port), Ready).serve_forever()
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_monitoring_stops_prometheus_in_order(tmp_path: Path, stop: signal.Signals) -> None:
    program = tmp_path / "bin" / "prometheus"
    program.parent.mkdir()
    program.write_text(FAKE_PROMETHEUS)
    program.chmod(0o755)
    (port,) = free_ports(1)
    environ = {**os.environ, "PATH": str(program.parent), "AURALIS_TOOLS": "", "METRICS_PORT": "1"}
    command = [sys.executable, "-m", "services.cli", "monitoring", "--port", str(port), "--folder", str(tmp_path)]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Ctrl-C stops" in line:
                process.send_signal(stop)
        assert process.wait(30) == 0
    assert "stopped in order" in (tmp_path / "prometheus.log").read_text()
