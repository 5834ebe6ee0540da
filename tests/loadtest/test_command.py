"""`auralis loadtest` with a cluster in memory; tests/cluster has it on a real one."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.loadtest import command
from services.loadtest.cluster import ClusterError, EdgePlace, LoadCluster, PodState, trouble
from services.loadtest.command import EXIT_INTERRUPTED, Wishes, run_loadtest
from services.loadtest.report import Limits
from tests.loadtest.test_report import lines, tally


class FakeCluster:
    """Two pods that print what pods print; `ticks` looks later they have ended."""

    context = "here"
    namespace = "music"

    def __init__(self, *, ticks: int = 2, never_starts: bool = False) -> None:
        self.jobs: dict[str, Mapping[str, Any]] = {}
        self.made: list[Mapping[str, Any]] = []
        self.ticks = ticks
        self.never_starts = never_starts
        self.on_look: threading.Event | None = None
        self.interrupt_at = -1
        self.looks = 0

    def find_edge(self, release: str | None) -> EdgePlace:
        url = "ws://auralis-edge.music.svc:80/ws"
        return EdgePlace(release or "auralis", "music", url, "auralis-edge:1", "Never", (), 2)

    def create(self, made: Mapping[str, Any]) -> None:
        self.jobs[made["metadata"]["name"]] = made
        self.made.append(made)

    def pods(self, job_name: str) -> list[PodState]:
        assert job_name in self.jobs
        self.looks += 1
        if self.looks == self.interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)
        if self.never_starts:
            return [PodState(f"{job_name}-{n}", n, "Pending", "0/1 nodes are available") for n in range(2)]
        phase = "Succeeded" if self.looks > self.ticks else "Running"
        return [PodState(f"{job_name}-{n}", n, phase, "") for n in range(2)]

    def log(self, pod_name: str, *, last_lines: int | None = None) -> list[str]:
        index = int(pod_name[-1])
        said = lines(index, tally(5) if self.looks > self.ticks else None)
        return said[-last_lines:] if last_lines else said

    def delete(self, job_name: str) -> None:
        self.jobs.pop(job_name, None)


def wishes(folder: Path) -> Wishes:
    return Wishes(
        listeners=10, pods=2, seconds=5.0, ramp_s=1.0, streams=2, wire="pcm", seed=1, namespace=None, context=None,
        release=None, url=None, image=None, token_secret="", output=folder, limits=Limits(),
    )  # fmt: skip


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    fake = FakeCluster()
    monkeypatch.setattr(LoadCluster, "connect", lambda *_: fake)
    monkeypatch.setattr(command, "LOOK_S", 0.01)
    return fake


def test_a_good_run_is_reported_and_leaves_nothing(cluster: FakeCluster, tmp_path: Path) -> None:
    assert run_loadtest(wishes(tmp_path / "report")) == 0
    assert cluster.jobs == {}
    (made,) = cluster.made
    assert made["spec"]["completions"] == 2
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("auralis-edge:1", "Never")
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert (found["kept"], found["total"]["heard"]) == (True, 10)
    assert found["facts"]["edges_ready"] == 2
    assert (tmp_path / "report" / "report.png").exists()


def test_a_limit_that_is_not_kept_is_an_exit_status(cluster: FakeCluster, tmp_path: Path) -> None:
    strict = replace(wishes(tmp_path), limits=Limits(jitter_p99_ms=0.5))
    assert run_loadtest(strict) == 1
    assert cluster.jobs == {}


def test_ctrl_c_takes_the_job_away_and_reports_what_there_was(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.ticks = 10**6
    cluster.interrupt_at = 3
    before = signal.getsignal(signal.SIGINT)
    assert run_loadtest(wishes(tmp_path)) == EXIT_INTERRUPTED
    assert cluster.jobs == {}
    assert signal.getsignal(signal.SIGINT) is before
    found = json.loads((tmp_path / "report.json").read_text())
    assert (found["interrupted"], found["kept"]) == (True, False)
    assert found["timeline"]


def test_pods_that_do_not_start_are_an_error_with_the_reason(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "STARTING_S", 0.05)
    cluster.never_starts = True
    assert run_loadtest(wishes(tmp_path)) == 1
    assert cluster.jobs == {}
    assert "0/1 nodes are available" in " ".join(capsys.readouterr().err.split())


def test_an_api_server_that_is_away_for_a_moment_ends_nothing(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def now_and_then(job_name: str) -> list[PodState]:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise ClusterError("gone for a moment")
        return FakeCluster.pods(cluster, job_name)

    monkeypatch.setattr(cluster, "pods", now_and_then)
    assert run_loadtest(wishes(tmp_path)) == 0


def test_a_job_that_cannot_be_taken_away_costs_no_report(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(_: object) -> None:
        raise ClusterError("The cluster does not answer.")

    monkeypatch.setattr(cluster, "delete", gone)
    assert run_loadtest(wishes(tmp_path)) == 0
    assert json.loads((tmp_path / "report.json").read_text())["kept"] is True
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(r"does not answer\. If there is a job auralis-loadtest-\w+, it ends by", said)


def test_why_no_job_could_be_made_is_said_and_not_that_there_is_none_to_delete(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(what: str) -> Callable[[object], None]:
        def method(_: object) -> None:
            raise ClusterError(f"The cluster does not let us {what} the job: 403 Forbidden.")

        return method

    monkeypatch.setattr(cluster, "create", refuse("create"))
    monkeypatch.setattr(cluster, "delete", refuse("delete"))
    assert run_loadtest(wishes(tmp_path)) == 1
    assert "does not let us create the job: 403 Forbidden." in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "report.json").exists()


def test_wishes_that_cannot_be_are_refused_before_anything_is_made(cluster: FakeCluster, tmp_path: Path) -> None:
    assert run_loadtest(replace(wishes(tmp_path), pods=11)) == 2
    assert cluster.made == []


def test_without_a_cluster_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ClusterError, match="Set KUBECONFIG"):
        LoadCluster.connect(None, None)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({}, ""),
        ({"conditions": [{"type": "PodScheduled", "status": "False", "message": "no room"}]}, "no room"),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, ""),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "none"}}}]},
            "ErrImagePull: none",
        ),
        ({"containerStatuses": [{"state": {"terminated": {"exitCode": 0}}}]}, ""),
        (
            {"containerStatuses": [{"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]},
            "OOMKilled with status 137",
        ),
    ],
)
def test_why_a_pod_does_not_run_is_said(status: dict[str, Any], said: str) -> None:
    assert trouble(status) == said
