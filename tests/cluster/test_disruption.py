"""What listeners notice when pods are upgraded, drained and killed: DESIGN's table, on real pods."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.cluster.conftest import Cluster, Installed

LISTENERS = 12


def wait_until_ready(cluster: Cluster) -> None:
    for kind in ("statefulset/auralis-nats", "deployment/auralis-synthesis", "deployment/auralis-edge"):
        cluster.kubectl("rollout", "status", kind, "--timeout=240s", timeout_s=260)


def lost_nothing(report: dict[str, Any]) -> None:
    assert report["errors"] == []
    assert (report["missing"], report["repeated"]) == (0, 0), report
    assert report["silent_chunks"] == 0, report


@pytest.fixture(autouse=True)
def ready(installed: Installed) -> None:
    wait_until_ready(installed.cluster)


def test_listeners_lose_nothing_while_every_service_is_upgraded(installed: Installed) -> None:
    cluster = installed.cluster
    listeners = cluster.start_listeners("during-upgrade", LISTENERS, 150)
    before = {pod["metadata"]["uid"] for part in ("edge", "synthesis") for pod in cluster.pods(part)}
    began_s = time.monotonic()
    flags = [
        word
        for part in ("edge", "synthesis", "telemetry")
        for word in ("--set-string", f"{part}.podAnnotations.upgraded={int(time.time())}")
    ]
    installed.upgrade(*flags)
    took_s = time.monotonic() - began_s
    print(f"every service upgraded in {took_s:.0f} s")  # noqa: T201 - a figure for the report
    assert took_s < 140, "the upgrade took longer than its listeners stayed"
    assert not before & {pod["metadata"]["uid"] for part in ("edge", "synthesis") for pod in cluster.pods(part)}
    report = listeners.report(200)
    lost_nothing(report)
    assert report["reconnects"] >= LISTENERS, "every listener was sent to a new edge"
    assert report["recovered"] == report["reconnects"]


def kill(cluster: Cluster, part: str) -> None:
    """Kill one pod of a part at once, without a word to it."""
    name = cluster.pods(part)[0]["metadata"]["name"]
    cluster.kubectl("delete", "pod", name, "--grace-period=0", "--force")


@pytest.mark.parametrize("part", ["synthesis", "edge", "nats", "telemetry"])
def test_listeners_lose_nothing_when_a_pod_is_killed(installed: Installed, part: str) -> None:
    cluster = installed.cluster
    listeners = cluster.start_listeners(f"{part}-killed", LISTENERS, 45)
    time.sleep(5)
    kill(cluster, part)
    report = listeners.report(120)
    lost_nothing(report)
    if part in ("synthesis", "telemetry", "nats"):
        assert report["reconnects"] == 0, "listeners should not have noticed"
    wait_until_ready(cluster)


def test_a_drained_edge_sends_its_listeners_elsewhere_before_it_ends(installed: Installed) -> None:
    """As a scale-down does it: not ready, goodbyes with tokens, SIGTERM, gone, all within the grace period."""
    cluster = installed.cluster
    listeners = cluster.start_listeners("during-drain", LISTENERS, 40)
    pod = cluster.pods("edge")[0]["metadata"]["name"]
    began_s = time.monotonic()
    cluster.kubectl("delete", "pod", pod, "--wait=true")
    took_s = time.monotonic() - began_s
    print(f"drained and gone in {took_s:.1f} s")  # noqa: T201 - a figure for the report
    grace_s = cluster.get("deployment", "auralis-edge")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert took_s < grace_s - 5, "it was killed, not drained"
    report = listeners.report(120)
    lost_nothing(report)
    assert report["reconnects"] == report["recovered"] >= 1
