"""`helm install` with one of the chart's profiles, and what its notes promise."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from typing import Any

import numpy as np
import pytest

from services.client import Client
from services.contract.spec import StreamSpec
from tests.cluster.conftest import RELEASE, ROOT, Installed
from tests.support.waiting import wait_until

PARTS = ("nats", "synthesis", "edge", "telemetry")


def fetch(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        body: bytes = answer.read()
    return body


def test_everything_is_ready_and_nothing_restarted(installed: Installed) -> None:
    print(f"ready {installed.seconds:.0f} s after helm install")  # noqa: T201 - a figure for the report
    for part in PARTS:
        for pod in installed.cluster.pods(part):
            statuses = pod["status"]["containerStatuses"]
            assert all(each["ready"] for each in statuses), part
            assert all(each["restartCount"] == 0 for each in statuses), part
    assert len(installed.cluster.pods("edge")) == 2


def test_the_notes_give_commands_that_work(installed: Installed) -> None:
    cluster = installed.cluster
    commands = re.findall(r"^   (kubectl .*?)(?:   #.*)?$", installed.notes, re.MULTILINE)
    rollout = next(line for line in commands if "rollout status" in line)
    words = rollout.split()
    said = [
        cluster.kubectl("rollout", "status", target, "--timeout=60s")
        for target in words
        if target.startswith("deployment/")
    ]
    assert len(said) == 2
    assert f"helm test {RELEASE} -n {cluster.namespace} --logs" in installed.notes
    forward = next(line for line in commands if "port-forward service/auralis-edge" in line)
    assert forward.endswith("8000:80")


def test_pods_run_as_a_user_without_rights_on_a_root_that_cannot_be_written(installed: Installed) -> None:
    cluster = installed.cluster
    script = (
        "import os\n"
        "status = open('/proc/self/status').read()\n"
        "print(os.getuid(), os.getgid())\n"
        "names = ('CapEff', 'NoNewPrivs', 'Seccomp:')\n"
        "print([line.split()[1] for line in status.splitlines() if line.startswith(names)])\n"
        "for path in ('/x', '/opt/auralis/x', '/usr/x'):\n"
        "    try:\n"
        "        open(path, 'w')\n"
        "        print('wrote', path)\n"
        "    except OSError:\n"
        "        pass\n"
        "print(os.path.exists('/var/run/secrets/kubernetes.io/serviceaccount/token'))\n"
    )
    for part in ("synthesis", "edge", "telemetry"):
        said = cluster.inside(f"deployment/auralis-{part}", script).splitlines()
        assert said[0] == "10001 10001"
        assert said[1].startswith("['0000000000000000', '1', ")
        assert not [line for line in said if line.startswith("wrote")]
        assert said[-1] == str(part == "telemetry")


def test_images_bring_nothing_that_installs(installed: Installed) -> None:
    script = (
        "import glob, shutil\n"
        "found = [shutil.which(name) for name in ('pip', 'pip3')]\n"
        "found += glob.glob('/usr/local/lib/python3*/site-packages/pip*')\n"
        "found += glob.glob('/usr/local/lib/python3*/ensurepip')\n"
        "found += glob.glob('/opt/auralis/lib/python3*/site-packages/pip*')\n"
        "print([each for each in found if each])\n"
    )
    for part in ("synthesis", "edge", "telemetry"):
        said = installed.cluster.inside(f"deployment/auralis-{part}", script)
        assert said.strip() == "[]", part


def test_telemetry_may_patch_pods_here_and_nothing_else(installed: Installed) -> None:
    cluster = installed.cluster

    def may(verb: str, resource: str, account: str, namespace: str = cluster.namespace) -> bool:
        done = subprocess.run(
            [
                cluster.kubectl_path, "auth", "can-i", verb, resource, "-n", namespace, "-q",
                "--as", f"system:serviceaccount:{cluster.namespace}:{account}",
            ],
            capture_output=True, timeout=30, check=False,
        )  # fmt: skip
        return done.returncode == 0

    assert may("patch", "pods", "auralis-telemetry")
    assert not may("patch", "pods", "auralis-telemetry", "default")
    for verb, resource in (("get", "pods"), ("delete", "pods"), ("get", "secrets"), ("patch", "deployments")):
        assert not may(verb, resource, "auralis-telemetry")
    for account in ("auralis-edge", "auralis-synthesis", "auralis-nats"):
        assert not may("patch", "pods", account)


def test_helm_test_hears_music(installed: Installed) -> None:
    said = installed.cluster.helm("test", RELEASE, "--logs", "--timeout", "3m")
    print(said[said.find("POD LOGS") :])  # noqa: T201 - figures for the report
    assert "Phase:          Succeeded" in said
    match = re.search(r"(\d+) chunks, 0 gaps, (-[\d.]+) dBFS; closed", said)
    assert match is not None
    assert int(match[1]) == 50
    assert "problem:" not in said


async def test_a_client_plays_through_a_port_forward(installed: Installed) -> None:
    with installed.cluster.forwarded("service/auralis-edge", 80) as port:
        assert b"<html" in fetch(port, "/")
        began_s = time.monotonic()
        first_s = 0.0
        ids: list[int] = []
        sound: list[bytes] = []
        spec = StreamSpec.from_params({"key": "D", "bpm": 84})
        async with asyncio.timeout(60), Client(f"ws://127.0.0.1:{port}/ws", spec) as client:
            async for chunk in client:
                first_s = first_s or time.monotonic() - began_s
                ids.append(chunk.chunk_id)
                sound.append(chunk.pcm)
                if len(ids) == 100:
                    break
    print(f"first sound after {first_s:.3f} s through the port-forward")  # noqa: T201 - a figure for the report
    assert ids == list(range(ids[0], ids[0] + 100)), "a chunk is missing"
    samples = np.frombuffer(b"".join(sound), dtype="<i2").astype(np.float64) / 32768
    assert 20 * np.log10(np.sqrt(np.mean(samples**2))) > -50, "this is silence"


def test_telemetry_sees_the_fleet(installed: Installed) -> None:
    with installed.cluster.forwarded("service/auralis-telemetry", 9090) as port:

        def all_seen() -> bool:
            fleet: dict[str, Any] = json.loads(fetch(port, "/api/fleet"))
            there = {each["instance"] for each in fleet["instances"] if each["up"]}
            return there >= {
                pod["metadata"]["name"] for part in ("synthesis", "edge") for pod in installed.cluster.pods(part)
            }

        wait_until(all_seen, 30, every_s=1)
        own = fetch(port, "/metrics?scope=self").decode()
        fleet = fetch(port, "/metrics").decode()
    assert "auralis_listeners" not in own
    for part in ("synthesis", "edge"):
        assert re.search(rf'[{{,]service="{part}"', fleet)


def test_prometheus_finds_each_pod_by_its_annotations(installed: Installed) -> None:
    for part, name in (("synthesis", "auralis_render_capacity_streams"), ("edge", "auralis_listeners")):
        pod = installed.cluster.pods(part)[0]
        notes = pod["metadata"]["annotations"]
        assert notes["prometheus.io/scrape"] == "true"
        with installed.cluster.forwarded(f"pod/{pod['metadata']['name']}", int(notes["prometheus.io/port"])) as port:
            assert name in fetch(port, notes["prometheus.io/path"]).decode()


def test_the_emptiest_edge_is_marked_to_go_first(installed: Installed) -> None:
    cluster = installed.cluster
    crowd = cluster.start_listeners("marked", 9, 300)
    # Telemetry patches a pod once a minute at most.
    seen: dict[str, tuple[float, int | None]] = {}

    def in_order() -> bool:
        seen.clear()
        for pod in cluster.pods("edge"):
            name = pod["metadata"]["name"]
            with cluster.forwarded(f"pod/{name}", 9090) as port:
                value = re.search(r"^auralis_listeners ([\d.]+)$", fetch(port, "/metrics").decode(), re.MULTILINE)
            assert value is not None
            cost = pod["metadata"]["annotations"].get("controller.kubernetes.io/pod-deletion-cost")
            seen[name] = (float(value[1]), None if cost is None else int(cost))
        pairs = sorted(seen.values(), key=lambda pair: pair[0])
        costs = [cost for _, cost in pairs]
        known = [cost for cost in costs if cost is not None]
        return known == costs == sorted(known) and sum(count for count, _ in pairs) == 9 and known[-1] > 0

    try:
        wait_until(in_order, 120, every_s=2)
    except AssertionError:
        raise AssertionError(f"listeners and deletion costs: {seen}") from None
    print(f"listeners and deletion costs: {seen}")  # noqa: T201 - figures for the report
    crowd.end()


def test_services_do_nothing_that_the_bus_forbids(installed: Installed) -> None:
    said = installed.cluster.logs("nats")
    assert [line for line in said.splitlines() if "iolation" in line or "uthorization" in line] == []


def test_services_log_no_error(installed: Installed) -> None:
    for part in ("synthesis", "edge", "telemetry"):
        lines = installed.cluster.logs(part).splitlines()
        events = [json.loads(line.partition("] ")[2]) for line in lines if line.partition("] ")[2].startswith("{")]
        assert events, f"{part} logs no JSON"
        bad = [each for each in events if each.get("level") in ("error", "critical")]
        assert bad == [], part
        assert [each for each in events if "is not a setting" in str(each)] == []


def test_an_upgrade_keeps_secrets_and_restarts_only_what_it_changes(installed: Installed) -> None:
    cluster = installed.cluster

    def secrets_of() -> dict[str, Any]:
        found = cluster.get("secrets", "-l", "app.kubernetes.io/part-of=auralis")["items"]
        return {each["metadata"]["name"]: each["data"] for each in found}

    before = secrets_of()
    pods = {part: {pod["metadata"]["uid"] for pod in cluster.pods(part)} for part in PARTS}
    assert set(before) == {"auralis-edge-resume", "auralis-nats-passwords"}
    installed.upgrade("--set", "telemetry.podAnnotations.upgraded=yes")
    assert secrets_of() == before
    after = {part: {pod["metadata"]["uid"] for pod in cluster.pods(part)} for part in PARTS}
    assert [part for part in PARTS if after[part] != pods[part]] == ["telemetry"]


def test_the_chart_is_refused_with_a_sentence_before_anything_changes(installed: Installed) -> None:
    with pytest.raises(AssertionError, match=r"edge\.jwt\.key: got nothing with jwt\.enabled"):
        installed.upgrade("--set", "edge.jwt.enabled=true")
    assert "deployed" in installed.cluster.helm("status", RELEASE)


def test_the_guide_s_client_plays_through_a_port_forward(installed: Installed) -> None:
    script = ROOT / "tests" / "guide" / "scripts" / "test_full_pipeline.py"
    with installed.cluster.forwarded("service/auralis-edge", 80) as port:
        done = subprocess.run(
            [sys.executable, str(script)],
            env={**os.environ, "AURALIS_PORT": str(port)}, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    print(done.stdout)  # noqa: T201 - figures for the report
    assert done.returncode == 0, done.stdout + done.stderr
