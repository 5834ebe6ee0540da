"""`auralis loadtest` on a cluster: listens, reports, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.cluster.conftest import Cluster, Installed
from tests.support.waiting import wait_until

# What a busy machine does to figures is not the question here: that none is lost is.
LIMITS = ("--max-jitter-ms", "2000", "--max-first-audio-ms", "20000", "--max-gap-rate", "0")


def command(cluster: Cluster, folder: Path, *more: str) -> list[str]:
    return [
        sys.executable, "-m", "services.cli", "loadtest", "-n", cluster.namespace, "-o", str(folder),
        "--listeners", "60", "--pods", "3", "--streams", "4", "--ramp", "3", *LIMITS, *more,
    ]  # fmt: skip


def jobs(cluster: Cluster) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cluster.get("jobs", "-l", "app.kubernetes.io/name=auralis-loadtest")["items"]
    return found


def load_pods(cluster: Cluster) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cluster.get("pods", "-l", "app.kubernetes.io/name=auralis-loadtest")["items"]
    return found


def wait_until_gone(cluster: Cluster) -> None:
    wait_until(lambda: not (jobs(cluster) or load_pods(cluster)), 60, every_s=1)


def test_pods_share_the_listeners_and_one_report_has_them_all(installed: Installed, tmp_path: Path) -> None:
    done = subprocess.run(
        command(installed.cluster, tmp_path, "--seconds", "15"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    print(done.stdout)  # noqa: T201 - figures for the report
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["kept"] is True
    assert [pod["tally"]["listeners"] for pod in report["pods"]] == [20, 20, 20]
    assert (report["total"]["heard"], report["total"]["missing"], report["total"]["repeats"]) == (60, 0, 0)
    assert report["facts"]["edges_ready"] == 2
    assert max(row["listening"] for row in report["timeline"]) == 60
    assert (tmp_path / "report.png").stat().st_size > 10_000
    wait_until_gone(installed.cluster)


def test_ctrl_c_takes_everything_away_and_still_reports(installed: Installed, tmp_path: Path) -> None:
    cluster = installed.cluster
    with subprocess.Popen(
        command(cluster, tmp_path, "--seconds", "600"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        # It says every few seconds how many listen.
        before = ""
        while not re.search(r"[1-9]\d* listening,", before):
            line = process.stdout.readline()
            assert line, before
            before += line
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["interrupted"], report["kept"]) == (True, False)
    assert report["timeline"][-1]["listening"] > 0
    wait_until_gone(cluster)
