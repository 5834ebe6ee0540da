"""`auralis loadtest` with a cluster in memory; tests/cluster runs it on a real one."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.loadtest import command
from services.loadtest.cluster import ClusterError, EdgeDeployment, LoadCluster, PodState, trouble
from services.loadtest.command import EXIT_INTERRUPTED, Options, run_loadtest
from services.loadtest.report import Limits
from tests.loadtest.test_report import lines, tally


class FakeCluster:
    """A cluster with two pods, which end after `running_polls` polls."""

    context = "here"
    namespace = "music"

    def __init__(self, *, running_polls: int = 2, never_starts: bool = False) -> None:
        self.jobs: dict[str, Mapping[str, Any]] = {}
        self.made: list[Mapping[str, Any]] = []
        self.running_polls = running_polls
        self.never_starts = never_starts
        self.interrupt_at = -1
        self.polls = 0

    def find_edge(self, release: str | None) -> EdgeDeployment:
        url = "ws://auralis-edge.music.svc:80/ws"
        return EdgeDeployment(release or "auralis", "music", url, "auralis-edge:1", "Never", (), 2)

    def create(self, made: Mapping[str, Any]) -> None:
        self.jobs[made["metadata"]["name"]] = made
        self.made.append(made)

    def pods(self, job_name: str) -> list[PodState]:
        assert job_name in self.jobs
        self.polls += 1
        if self.polls == self.interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)
        if self.never_starts:
            return [PodState(f"{job_name}-{n}", n, "Pending", "0/1 nodes are available") for n in range(2)]
        phase = "Succeeded" if self.polls > self.running_polls else "Running"
        return [PodState(f"{job_name}-{n}", n, phase, "") for n in range(2)]

    def log(self, pod_name: str, *, last_lines: int | None = None) -> list[str]:
        index = int(pod_name[-1])
        text = lines(index, tally(5) if self.polls > self.running_polls else None)
        return text[-last_lines:] if last_lines else text

    def delete(self, job_name: str) -> None:
        self.jobs.pop(job_name, None)


def options(folder: Path) -> Options:
    return Options(
        listeners=10, pods=2, seconds=5.0, ramp_s=1.0, streams=2, wire="pcm", seed=1, namespace=None, context=None,
        release=None, url=None, image=None, token_secret="", output=folder, limits=Limits(),
    )  # fmt: skip


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    fake = FakeCluster()
    monkeypatch.setattr(LoadCluster, "connect", lambda *_: fake)
    monkeypatch.setattr(command, "POLL_S", 0.01)
    return fake


def test_a_good_run_is_reported_and_leaves_nothing(cluster: FakeCluster, tmp_path: Path) -> None:
    assert run_loadtest(options(tmp_path / "report")) == 0
    assert cluster.jobs == {}
    (made,) = cluster.made
    assert made["spec"]["completions"] == 2
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == ("auralis-edge:1", "Never")
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert (found["kept"], found["total"]["heard"]) == (True, 10)
    assert found["facts"]["edges_ready"] == 2
    assert (tmp_path / "report" / "report.png").exists()


def test_an_exceeded_limit_is_an_exit_status(cluster: FakeCluster, tmp_path: Path) -> None:
    strict = replace(options(tmp_path), limits=Limits(jitter_p99_ms=0.5))
    assert run_loadtest(strict) == 1
    assert cluster.jobs == {}


def test_ctrl_c_deletes_the_job_and_reports_the_figures_so_far(cluster: FakeCluster, tmp_path: Path) -> None:
    cluster.running_polls = 10**6
    cluster.interrupt_at = 3
    before = signal.getsignal(signal.SIGINT)
    assert run_loadtest(options(tmp_path)) == EXIT_INTERRUPTED
    assert cluster.jobs == {}
    assert signal.getsignal(signal.SIGINT) is before
    found = json.loads((tmp_path / "report.json").read_text())
    assert (found["interrupted"], found["kept"]) == (True, False)
    assert found["timeline"]


def test_pods_that_do_not_start_are_an_error_with_the_reason(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "START_TIMEOUT_S", 0.05)
    cluster.never_starts = True
    assert run_loadtest(options(tmp_path)) == 1
    assert cluster.jobs == {}
    assert "0/1 nodes are available" in " ".join(capsys.readouterr().err.split())


def test_an_api_server_that_is_away_for_a_moment_does_not_end_the_test(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    def fail_once(job_name: str) -> list[PodState]:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise ClusterError("gone for a moment")
        return FakeCluster.pods(cluster, job_name)

    monkeypatch.setattr(cluster, "pods", fail_once)
    assert run_loadtest(options(tmp_path)) == 0


def test_a_job_that_cannot_be_deleted_does_not_lose_the_report(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(_: object) -> None:
        raise ClusterError("The cluster does not answer.")

    monkeypatch.setattr(cluster, "delete", gone)
    assert run_loadtest(options(tmp_path)) == 0
    assert json.loads((tmp_path / "report.json").read_text())["kept"] is True
    text = " ".join(capsys.readouterr().err.split())
    assert re.search(r"does not answer\. If job auralis-loadtest-\w+ exists, it ends at", text)


def test_the_error_says_why_the_job_cannot_be_created_and_not_that_it_cannot_be_deleted(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(what: str) -> Callable[[object], None]:
        def method(_: object) -> None:
            raise ClusterError(f"The cluster did not {what} the job: 403 Forbidden.")

        return method

    monkeypatch.setattr(cluster, "create", refuse("create"))
    monkeypatch.setattr(cluster, "delete", refuse("delete"))
    assert run_loadtest(options(tmp_path)) == 1
    assert "did not create the job: 403 Forbidden." in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "report.json").exists()


def test_unusable_options_are_an_error_before_the_job_is_created(cluster: FakeCluster, tmp_path: Path) -> None:
    assert run_loadtest(replace(options(tmp_path), pods=11)) == 2
    assert cluster.made == []


def test_without_a_cluster_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ClusterError, match="Set KUBECONFIG"):
        LoadCluster.connect(None, None)


@pytest.mark.parametrize(
    ("status", "expected"),
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
def test_the_trouble_of_a_pod_is_put_into_words(status: dict[str, Any], expected: str) -> None:
    assert trouble(status) == expected
