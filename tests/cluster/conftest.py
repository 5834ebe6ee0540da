"""A real cluster, named by KUBECONFIG: one namespace for the whole run, taken away at its end."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "charts" / "auralis"
RELEASE = "auralis"


ORDER = (
    "test_admission",
    "test_deletion_cost",
    "test_secrets",
    "test_install",
    "test_gpu",
    "test_loadtest",
    "test_disruption",
    "test_scaling",
)
"""Files share one release: what only looks comes first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    ours = [item for item in items if here in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.cluster)
        item.add_marker(pytest.mark.timeout(900))
    ours.sort(key=lambda item: ORDER.index(item.path.stem))
    items[:] = [item for item in items if here not in item.path.parents] + ours


def _tool(name: str) -> str:
    extra = os.environ.get("AURALIS_TOOLS", "")
    found = shutil.which(name) or (shutil.which(name, path=extra) if extra else None)
    if found is None:
        pytest.skip(f"{name} is neither on PATH nor in the folder that AURALIS_TOOLS names")
    return found


class CommandError(AssertionError):
    """A command ended with an error; the message has what it said."""


@dataclass(frozen=True)
class Cluster:
    """kubectl and helm, in one namespace."""

    kubectl_path: str
    helm_path: str
    namespace: str

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_s: float = 120) -> str:
        """Run kubectl; what it printed.

        Raises:
            CommandError: it failed.
        """
        return self._run([self.kubectl_path, "-n", self.namespace, *arguments], stdin, timeout_s)

    def inside(self, what: str, script: str) -> str:
        """What a Python script prints in a container, and nothing that kubectl says beside it.

        Raises:
            CommandError: it failed.
        """
        command = [self.kubectl_path, "-n", self.namespace, "exec", what, "--", "python", "-c", script]
        return self._run(command, None, 120, with_errors=False)

    def everywhere(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl for objects that say themselves which namespace they are in."""
        return self._run([self.kubectl_path, *arguments], stdin, 120)

    def helm(self, *arguments: str, timeout_s: float = 600) -> str:
        """Run helm; what it printed."""
        return self._run([self.helm_path, "-n", self.namespace, *arguments], None, timeout_s)

    @staticmethod
    def _run(command: Sequence[str], stdin: str | None, timeout_s: float, *, with_errors: bool = True) -> str:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False)
        if done.returncode:
            raise CommandError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr if with_errors else done.stdout

    def get(self, *arguments: str) -> Any:
        """An object or a list of them, as kubectl gives it in JSON."""
        done = subprocess.run(
            [self.kubectl_path, "-n", self.namespace, "get", *arguments, "-o", "json"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode:
            raise CommandError(done.stderr)
        return json.loads(done.stdout)

    def pods(self, part: str) -> list[dict[str, Any]]:
        """Pods of a part that are not on their way out."""
        found = self.get("pods", "-l", f"app.kubernetes.io/component={part}")["items"]
        return [each for each in found if "deletionTimestamp" not in each["metadata"]]

    def logs(self, part: str) -> str:
        return self.kubectl("logs", "-l", f"app.kubernetes.io/component={part}", "--tail=-1", "--prefix")

    @contextmanager
    def forwarded(self, target: str, port: int) -> Iterator[int]:
        """`kubectl port-forward` to a pod or Service; the local port."""
        with subprocess.Popen(
            [self.kubectl_path, "-n", self.namespace, "port-forward", "--address=127.0.0.1", target, f":{port}"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as process:  # fmt: skip
            try:
                assert process.stdout is not None
                # "Forwarding from 127.0.0.1:40123 -> 8000"; a connection made only to see whether it works may end it.
                said = process.stdout.readline()
                match = re.search(r"Forwarding from 127\.0\.0\.1:(\d+)", said)
                if match is None:
                    raise CommandError(f"port-forward {target} {port}: {said}{process.stdout.read()}")
                # It prints a line for each connection, and would block on a full pipe.
                threading.Thread(target=process.stdout.read, daemon=True).start()
                yield int(match[1])
            finally:
                process.terminate()
                process.wait(10)

    def fetch(self, pod: str, port: int, path: str) -> bytes:
        """What a pod answers to GET, by way of the API server: nothing stays open that could break between looks."""
        answer: Any = self._api.connect_get_namespaced_pod_proxy_with_path(
            f"{pod}:{port}", self.namespace, path, _preload_content=False, _request_timeout=20
        )
        body: bytes = answer.data
        return body

    @cached_property
    def _api(self) -> client.CoreV1Api:
        settings = client.Configuration()
        config.load_kube_config(client_configuration=settings)
        return client.CoreV1Api(client.ApiClient(settings))

    def start_listeners(self, name: str, listeners: int, seconds: float, *, first_seed: int = 1) -> Listeners:
        """Listeners in a pod of their own; returns when each of them hears something."""
        deployment = self.get("deployment", "auralis-edge")
        template = deployment["spec"]["template"]["spec"]
        edge = template["containers"][0]
        labels = {**deployment["metadata"]["labels"], "app.kubernetes.io/component": "test", "listeners": name}
        script = (Path(__file__).parent / "listeners.py").read_text()
        url = "ws://auralis-edge/ws"
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {key: labels[key] for key in labels if "helm.sh" not in key}},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": 1,
                "securityContext": template["securityContext"],
                "containers": [
                    {
                        "name": "listeners",
                        "image": edge["image"],
                        "imagePullPolicy": edge["imagePullPolicy"],
                        "securityContext": edge["securityContext"],
                        "command": ["python", "-c", script, url, str(listeners), str(seconds), str(first_seed)],
                        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
                    }
                ],
            },
        }
        self.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
        found = Listeners(self, name)
        found.wait_for("all listening", 120)
        return found

    def kill_container(self, container: str, node: str) -> None:
        """SIGKILL to every process of a container, by a pod on its node that sees them all."""
        # Nothing of the kind is let into the namespace of the tests.
        namespace = f"{self.namespace}-kill"
        script = (
            "import os, sys\n"
            "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
            "    try:\n"
            "        if sys.argv[1] in open(f'/proc/{pid}/cgroup').read():\n"
            "            os.kill(int(pid), 9)\n"
            "            print('killed')\n"
            "    except OSError:\n"
            "        pass\n"
        )
        edge = self.get("deployment", "auralis-edge")["spec"]["template"]["spec"]["containers"][0]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "killer", "namespace": namespace},
            "spec": {
                "restartPolicy": "Never",
                "hostPID": True,
                "nodeName": node,
                "automountServiceAccountToken": False,
                "containers": [
                    {
                        "name": "killer",
                        "image": edge["image"],
                        "imagePullPolicy": edge["imagePullPolicy"],
                        "securityContext": {"runAsUser": 0},
                        "command": ["python", "-c", script, container],
                    }
                ],
            },
        }
        allowing = {"pod-security.kubernetes.io/enforce": "privileged"}
        own = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": allowing}}
        self.everywhere("apply", "-f", "-", stdin=json.dumps(own))
        try:
            self.everywhere("apply", "-f", "-", stdin=json.dumps(pod))
            done = "jsonpath={.status.phase}=Succeeded"
            self.everywhere("wait", "-n", namespace, "pod/killer", f"--for={done}", "--timeout=60s")
            assert "killed" in self.everywhere("logs", "-n", namespace, "killer"), (
                f"{container} has no process on {node}"
            )
        finally:
            self.everywhere("delete", "pod", "-n", namespace, "killer", "--ignore-not-found", "--grace-period=1")

    def describe_edges(self) -> str:
        """What edges count and say about chunks that came late or not at all."""
        lines = []
        for pod in self.pods("edge"):
            name = pod["metadata"]["name"]
            text = self.fetch(name, 9090, "metrics").decode()
            lines += [
                f"{name} {line}"
                for line in text.splitlines()
                if re.match(r"auralis_(skip|degraded|asks|resumes|tick_lateness_seconds_(sum|count))", line)
                and not line.endswith(" 0.0")
            ]
            lines += [f"{name} {line}" for line in self.kubectl("logs", name, "--tail=60").splitlines()]
        return "\n".join(lines)

    def describe_trouble(self) -> str:
        """What to look at when something did not come up."""
        lines = [self.kubectl("get", "pods", "-o", "wide")]
        events = self.kubectl("get", "events", "--sort-by=.lastTimestamp").splitlines()
        lines.append("\n".join(events[-20:]))
        for part in ("nats", "synthesis", "edge", "telemetry"):
            try:
                lines.append(self.kubectl("logs", "-l", f"app.kubernetes.io/component={part}", "--tail=15"))
            except CommandError as error:
                lines.append(str(error))
        return "\n".join(lines)


@dataclass(frozen=True)
class Listeners:
    """Listeners in a pod."""

    cluster: Cluster
    name: str

    def output(self) -> str:
        return self.cluster.kubectl("logs", self.name, "--tail=-1")

    def wait_for(self, words: str, timeout_s: float) -> str:
        """What they have printed, once `words` are in it."""
        said = ""

        def has_printed() -> bool:
            nonlocal said
            phase = self.cluster.get("pod", self.name)["status"]["phase"]
            said = self.output() if phase != "Pending" else ""
            if phase == "Failed" and words not in said:
                raise RuntimeError(f"{self.name} failed:\n{said}")
            return words in said

        try:
            wait_until(has_printed, timeout_s, every_s=0.5)
        except AssertionError:
            trouble = self.cluster.describe_trouble()
            raise AssertionError(f"{self.name} did not print {words!r}:\n{said}\n{trouble}") from None
        return said

    def end(self) -> dict[str, Any]:
        """What they missed, up to now."""
        stop = "import os, signal; os.kill(1, signal.SIGTERM)"
        self.cluster.kubectl("exec", self.name, "--", "python", "-c", stop)
        return self.report(60)

    def report(self, timeout_s: float) -> dict[str, Any]:
        """What they missed; waits for them to be done, and removes the pod."""
        said = self.wait_for('"listeners"', timeout_s)
        self.cluster.kubectl("delete", "pod", self.name, "--wait=false")
        found: dict[str, Any] = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
        print(f"{self.name}: {json.dumps(found)}")  # noqa: T201 - figures for the report
        return found


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster, with an empty namespace that takes only restricted pods."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG is not set: no cluster to test on (kind create cluster --config k8s/kind.yaml)")
    kubectl, helm = _tool("kubectl"), _tool("helm")
    namespace = f"auralis-test-{secrets.token_hex(3)}"
    cluster = Cluster(kubectl, helm, namespace)
    text = (ROOT / "k8s" / "namespace.yaml").read_text()
    manifest = re.sub(r"(?m)^  name: auralis$", f"  name: {namespace}", text)
    cluster.kubectl("apply", "-f", "-", stdin=manifest)
    try:
        yield cluster
    finally:
        cluster.kubectl("delete", "namespace", namespace, f"{namespace}-kill", "--wait=false", "--ignore-not-found")


@pytest.fixture(autouse=True)
def nobody_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Listeners of a test that failed are not there for the next one, which counts its own."""
    yield
    if "cluster" in request.fixturenames:
        cluster: Cluster = request.getfixturevalue("cluster")
        cluster.kubectl("delete", "pod", "-l", "listeners", "--wait=true", "--timeout=60s")


def image_values() -> list[str]:
    """Flags that name the images which tests/cluster/images has put there."""
    flags = []
    if tag := os.environ.get("AURALIS_TEST_TAG"):
        flags += ["--set", f"image.tag={tag}", "--set", "image.pullPolicy=Never"]
    if nats := os.environ.get("AURALIS_TEST_NATS"):
        repository, _, tag = nats.rpartition(":")
        flags += ["--set", f"nats.image.repository={repository}", "--set-string", f"nats.image.tag={tag}"]
    return flags


@dataclass(frozen=True)
class Installed:
    """A release that is ready."""

    cluster: Cluster
    flags: tuple[str, ...]
    notes: str
    seconds: float

    def upgrade(self, *flags: str) -> str:
        """`helm upgrade` with further flags; returns when everything is ready."""
        return self.cluster.helm("upgrade", RELEASE, str(CHART), *self.flags, *flags, "--wait", "--timeout", "8m")


@pytest.fixture(scope="session")
def installed(cluster: Cluster) -> Installed:
    """The cpu-only profile, small, and ready."""
    files = (CHART / "profiles" / "cpu-only.yaml", Path(__file__).parent / "small.yaml")
    flags = (*(word for file in files for word in ("-f", str(file))), *image_values())
    began_s = time.monotonic()
    try:
        notes = cluster.helm("install", RELEASE, str(CHART), *flags, "--wait", "--timeout", "10m", timeout_s=700)
    except CommandError as error:
        pytest.fail(f"{error}\n{cluster.describe_trouble()}")
    return Installed(cluster, flags, notes, time.monotonic() - began_s)
