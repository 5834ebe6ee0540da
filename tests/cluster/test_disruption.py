"""What listeners notice when pods are upgraded, drained and killed: the table of ARCHITECTURE.md, on real pods."""

from __future__ import annotations

import base64
import json
import re
import secrets
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.cluster.conftest import RELEASE, Cluster, Installed
from tests.support.waiting import wait_until

PARTS = ("nats", "synthesis", "edge", "telemetry")
LISTENERS = 12
LONG_S = 400.0
"""Longer than any test here; each test ends its listeners."""
AFTER_S = 15.0
"""Longer than every buffer on the way: what a listener holds, what is asked for ahead, what a service keeps back."""


def listen_on(seconds: float) -> None:
    """Let the music go on while the listeners listen; their report is the test."""
    time.sleep(seconds)


def wait_until_ready(cluster: Cluster) -> None:
    for kind in ("statefulset/auralis-nats", "deployment/auralis-synthesis", "deployment/auralis-edge"):
        cluster.kubectl("rollout", "status", kind, "--timeout=240s", timeout_s=260)


def lost_nothing(report: dict[str, Any], cluster: Cluster) -> None:
    assert report["errors"] == []
    lost = report["missing"], report["repeated"], report["silent_chunks"]
    assert lost == (0, 0, 0), f"{report}\n{cluster.describe_edges()}"


@pytest.fixture(autouse=True)
def ready(installed: Installed) -> None:
    wait_until_ready(installed.cluster)


# The last one leaves the usual strategy to those after it.
@pytest.mark.parametrize("worker", ["recreated", "replaced"])
def test_listeners_lose_nothing_while_every_service_is_upgraded(installed: Installed, worker: str) -> None:
    """Recreated, as where there is one GPU: the old worker ends before the new one starts."""
    cluster = installed.cluster
    listeners = cluster.start_listeners(f"worker-{worker}", LISTENERS, LONG_S)
    before = {pod["metadata"]["uid"] for part in ("edge", "synthesis") for pod in cluster.pods(part)}
    began_s = time.monotonic()
    flags = [
        word
        for part in ("edge", "synthesis", "telemetry")
        for word in ("--set-string", f"{part}.podAnnotations.upgraded={int(time.time())}")
    ]
    if worker == "recreated":
        flags += ["--set", "synthesis.strategy.type=Recreate"]
    installed.upgrade(*flags)
    took_s = time.monotonic() - began_s
    print(f"every service upgraded, the worker {worker}, in {took_s:.0f} s")  # noqa: T201 - a figure for the report
    assert not before & {pod["metadata"]["uid"] for part in ("edge", "synthesis") for pod in cluster.pods(part)}
    listen_on(AFTER_S)
    report = listeners.end()
    lost_nothing(report, cluster)
    assert report["reconnects"] >= LISTENERS, "every listener was sent to a new edge"
    assert report["recovered"] == report["reconnects"]


def kill(cluster: Cluster, part: str) -> None:
    """SIGKILL to the process of one of a part's pods, and wait until its container has been started again.

    Deleting a pod stops it gracefully, also with --force: the kubelet runs its preStop and sends SIGTERM. A process in
    a container cannot kill the container's first process, so the node kills it.
    """
    pod = cluster.pods(part)[0]
    name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
    before = pod["status"]["containerStatuses"][0]
    cluster.kill_container(before["containerID"].partition("://")[2], node)

    def restarted() -> dict[str, Any] | None:
        now: dict[str, Any] = cluster.get("pod", name)["status"]["containerStatuses"][0]
        return now if now["restartCount"] > before["restartCount"] and "running" in now["state"] else None

    now = wait_until(restarted, 60, every_s=0.2)
    assert now["lastState"]["terminated"]["exitCode"] == 128 + signal.SIGKILL


@pytest.mark.parametrize("part", ["synthesis", "edge", "nats", "telemetry"])
def test_listeners_lose_nothing_when_a_process_is_killed(installed: Installed, part: str) -> None:
    cluster = installed.cluster
    listeners = cluster.start_listeners(f"{part}-killed", LISTENERS, LONG_S)
    listen_on(3)
    began_s = time.monotonic()
    kill(cluster, part)
    wait_until_ready(cluster)
    print(f"{part} killed, ready again after {time.monotonic() - began_s:.0f} s")  # noqa: T201 - a figure for the report
    listen_on(AFTER_S)
    report = listeners.end()
    lost_nothing(report, cluster)
    if part in ("synthesis", "telemetry", "nats"):
        assert report["reconnects"] == 0, "listeners should not have noticed"


def test_a_drained_edge_sends_its_listeners_elsewhere_before_it_ends(installed: Installed) -> None:
    """As in a scale-down: not ready, closes with tokens, SIGTERM, gone, all within the grace period."""
    cluster = installed.cluster
    listeners = cluster.start_listeners("during-drain", LISTENERS, LONG_S)
    pod = cluster.pods("edge")[0]["metadata"]["name"]
    began_s = time.monotonic()
    cluster.kubectl("delete", "pod", pod, "--wait=true")
    took_s = time.monotonic() - began_s
    print(f"drained and gone in {took_s:.1f} s")  # noqa: T201 - a figure for the report
    grace_s = cluster.get("deployment", "auralis-edge")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert took_s < grace_s - 5, "it was killed, not drained"
    listen_on(5)
    report = listeners.end()
    lost_nothing(report, cluster)
    assert report["reconnects"] == report["recovered"] >= 1


def test_the_passwords_of_the_bus_are_changed_while_listeners_listen(installed: Installed) -> None:
    """As docs/operations.md says: the Secret, then `helm upgrade`; checksums restart all its readers."""
    cluster = installed.cluster
    listeners = cluster.start_listeners("during-passwords", LISTENERS, LONG_S)
    pods = {part: {pod["metadata"]["uid"] for pod in cluster.pods(part)} for part in PARTS}
    new = {name: f"p{secrets.token_hex(12)}" for name in ("synthesis", "edge", "telemetry")}
    cluster.kubectl("patch", "secret", "auralis-nats-passwords", "--type=merge", "-p", json.dumps({"stringData": new}))
    began_s = time.monotonic()
    installed.upgrade("--reuse-values")
    print(f"passwords changed in {time.monotonic() - began_s:.0f} s")  # noqa: T201 - a figure for the report
    data = cluster.get("secret", "auralis-nats-passwords")["data"]
    assert {name: base64.b64decode(data[name]).decode() for name in new} == new, "the upgrade kept them"
    after = {part: {pod["metadata"]["uid"] for pod in cluster.pods(part)} for part in PARTS}
    assert [part for part in PARTS if after[part] & pods[part]] == [], "each of them read them anew"
    listen_on(AFTER_S)
    # NATS, which has the recent past, is replaced together with everything that could make it anew: the old edges loop
    # until there is a worker again.
    lost_nothing(listeners.end(), cluster)


def revisions(cluster: Cluster, edges: list[str]) -> dict[tuple[str, str], str]:
    """(edge, stream) -> the revision that it plays."""
    return {
        (edge, stream["stream_id"]): stream["revision"]
        for edge in edges
        for stream in json.loads(cluster.fetch(edge, 8000, "api/streams"))["streams"]
    }


def another_revision(cluster: Cluster) -> list[str]:
    """Flags that give workers the next sound version: one changed line, and no compiled form of it."""
    read = (
        "import importlib.util\n"
        "found = importlib.util.find_spec('services.synthesis.render.revision')\n"
        "print(found.origin, found.cached, open(found.origin).read(), sep='\\n')\n"
    )
    said = cluster.inside("deployment/auralis-synthesis", read)
    origin, cached, source = said.split("\n", 2)
    changed, count = re.subn(
        r"(?m)^SOUND_VERSION: Final = (\d+)$", lambda m: f"SOUND_VERSION: Final = {int(m[1]) + 1}", source
    )
    assert count == 1
    data = {"render.py": changed, "compiled": ""}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "next-revision"}, "data": data}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(config))
    mounts = [
        {"name": "next", "mountPath": path, "subPath": key}
        for path, key in ((origin, "render.py"), (cached, "compiled"))
    ]
    volumes = [{"name": "next", "configMap": {"name": "next-revision"}}]
    return [
        "--set-json", f"synthesis.extraVolumes={json.dumps(volumes)}",
        "--set-json", f"synthesis.extraVolumeMounts={json.dumps(mounts)}",
    ]  # fmt: skip


def watch_revisions(cluster: Cluster, change: Callable[[], object]) -> dict[tuple[str, str], list[str]]:
    """(edge, stream) -> its revisions one after the other, from before a change until all have moved."""
    edges = [pod["metadata"]["name"] for pod in cluster.pods("edge")]
    seen = {key: [name] for key, name in revisions(cluster, edges).items()}
    assert len({names[0] for names in seen.values()}) == 1, "one revision at first"
    (old,) = {names[0] for names in seen.values()}
    with ThreadPoolExecutor(1) as other:
        changing = other.submit(change)
        end_s = time.monotonic() + 120
        while time.monotonic() < end_s and not (changing.done() and all(names[-1] != old for names in seen.values())):
            for key, name in revisions(cluster, edges).items():
                names = seen.setdefault(key, [])
                if name and names[-1:] != [name]:
                    names.append(name)
            time.sleep(0.2)  # the interval at which revisions are sampled
        changing.result()
    return seen


def test_streams_move_to_a_new_revision_once_and_back_with_a_rollback(installed: Installed) -> None:
    cluster = installed.cluster
    listeners = cluster.start_listeners("during-revision", LISTENERS, LONG_S)
    flags = another_revision(cluster)
    # With the present values: edges that restart as well could not be watched.
    for change in (
        lambda: installed.upgrade("--reuse-values", *flags),
        lambda: cluster.helm("rollback", RELEASE, "--wait"),
    ):
        began_s = time.monotonic()
        seen = watch_revisions(cluster, change)
        print(f"moved in {time.monotonic() - began_s:.0f} s: {seen}")  # noqa: T201 - figures for the report
        # The old revision, then the new one: a third entry would be a step back.
        assert {len(names) for names in seen.values()} == {2}, seen
        assert len({names[1] for names in seen.values()}) == 1, seen
    listen_on(AFTER_S)
    lost_nothing(listeners.end(), cluster)
