"""The Kubernetes API, as far as a load test needs it (shell)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

EDGE_LABELS: Final = "app.kubernetes.io/name=auralis,app.kubernetes.io/component=edge"
_INDEX: Final = "batch.kubernetes.io/job-completion-index"
_config: Final[Any] = config
"""It has no types of its own."""
_WAITING_IS_FINE: Final = frozenset({"", "ContainerCreating", "PodInitializing"})


class ClusterError(Exception):
    """The cluster cannot be reached, or has not what is needed; the message says what to do."""


@dataclass(frozen=True)
class EdgePlace:
    """Where the edges of a release are, and what they are made of."""

    release: str
    namespace: str
    url: str
    image: str
    pull_policy: str
    pull_secrets: tuple[str, ...]
    ready: int


@dataclass(frozen=True)
class PodState:
    """A pod of the Job.

    Attributes:
        phase: Pending, Running, Succeeded or Failed.
        trouble: why it does not run, where Kubernetes says so.
    """

    name: str
    index: int
    phase: str
    trouble: str


class LoadCluster:
    """One namespace of a cluster."""

    def __init__(self, api: client.ApiClient, namespace: str, context: str) -> None:
        self.namespace = namespace
        self.context = context
        self._core = client.CoreV1Api(api)
        self._apps = client.AppsV1Api(api)
        self._batch = client.BatchV1Api(api)

    @classmethod
    def connect(cls, namespace: str | None, context: str | None) -> Self:
        """Read KUBECONFIG (or ~/.kube/config).

        Args:
            namespace: None: the context's own.
            context: None: the current one.

        Raises:
            ClusterError: there is none.
        """
        try:
            contexts, current = _config.list_kube_config_contexts()
            chosen = next(each for each in contexts if each["name"] == context) if context else current
            api = _config.new_client_from_config(context=chosen["name"])
        except (ConfigException, StopIteration) as error:
            what = f"there is no context {context!r}" if isinstance(error, StopIteration) else str(error)
            raise ClusterError(
                f"No cluster: {what.rstrip('.')}. Set KUBECONFIG, or give --context one that it has."
            ) from error
        return cls(api, namespace or chosen["context"].get("namespace") or "default", chosen["name"])

    def find_edge(self, release: str | None) -> EdgePlace:
        """The edges to listen to.

        Args:
            release: its name; None: the only one in the namespace.

        Raises:
            ClusterError: there is none, or more than one.
        """
        labels = EDGE_LABELS + (f",app.kubernetes.io/instance={release}" if release else "")
        found = self._list("deployments", self._apps.list_namespaced_deployment, labels)
        names = [each["metadata"]["labels"]["app.kubernetes.io/instance"] for each in found]
        if len(found) != 1:
            raise ClusterError(
                f"Namespace {self.namespace} of {self.context}: got {', '.join(names) or 'none'}, expected one release "
                "with edges; name it with --release, and its namespace with --namespace."
            )
        labels = f"{EDGE_LABELS},app.kubernetes.io/instance={names[0]}"
        services = self._list("services", self._core.list_namespaced_service, labels)
        ports = [
            (each["metadata"]["name"], port["port"])
            for each in services
            for port in each["spec"]["ports"]
            if port.get("name") == "http"
        ]
        if not ports:
            raise ClusterError(f"Release {names[0]} has no Service with a port named http for its edges.")
        pod = found[0]["spec"]["template"]["spec"]
        return EdgePlace(
            release=names[0],
            namespace=self.namespace,
            url=f"ws://{ports[0][0]}.{self.namespace}.svc:{ports[0][1]}/ws",
            image=pod["containers"][0]["image"],
            pull_policy=pod["containers"][0]["imagePullPolicy"],
            pull_secrets=tuple(each["name"] for each in pod.get("imagePullSecrets", ())),
            ready=found[0]["status"].get("readyReplicas", 0),
        )

    def create(self, job: Mapping[str, Any]) -> None:
        """Make the Job."""
        self._ask("create a job", self._batch.create_namespaced_job, self.namespace, dict(job))

    def pods(self, job_name: str) -> list[PodState]:
        """The Job's pods, by index."""
        found = self._list("pods", self._core.list_namespaced_pod, f"batch.kubernetes.io/job-name={job_name}")
        states = [
            PodState(
                name=each["metadata"]["name"],
                index=int(each["metadata"].get("annotations", {}).get(_INDEX, 0)),
                phase=each["status"].get("phase", "Pending"),
                trouble=trouble(each["status"]),
            )
            for each in found
        ]
        return sorted(states, key=lambda state: state.index)

    def log(self, pod_name: str, *, last_lines: int | None = None) -> list[str]:
        """What a pod has printed; nothing where it has not begun."""
        try:
            answer: Any = self._core.read_namespaced_pod_log(
                pod_name, self.namespace, tail_lines=last_lines, _preload_content=False
            )
        except (ApiException, HTTPError):
            return []
        text: bytes = answer.data
        return text.decode("utf-8", "replace").splitlines()

    def delete(self, job_name: str) -> None:
        """Take the Job and its pods away; fine where it is gone already."""
        try:
            self._ask(
                "delete the job",
                self._batch.delete_namespaced_job,
                job_name,
                self.namespace,
                propagation_policy="Background",
                grace_period_seconds=0,
            )
        except ClusterError as error:
            if getattr(error.__cause__, "status", None) != 404:
                raise

    def _list(self, kind: str, method: Callable[..., object], labels: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask(f"list {kind}", method, self.namespace, label_selector=labels)["items"]
        return found

    def _ask(self, what: str, method: Callable[..., object], *arguments: Any, **options: Any) -> dict[str, Any]:
        """The answer as the API gives it: the client's own classes differ from release to release."""
        try:
            answer: Any = method(*arguments, **options, _preload_content=False)
        except ApiException as error:
            raise ClusterError(_sentence(what, error)) from error
        except HTTPError as error:
            raise ClusterError(f"The cluster {self.context} does not answer ({error}); is it running?") from error
        value: dict[str, Any] = json.loads(answer.data)
        return value


def _sentence(what: str, error: ApiException) -> str:
    return f"The cluster does not let us {what}: {error.status} {error.reason}. {str(error.body or '')[:300]}"


def trouble(status: Mapping[str, Any]) -> str:
    """Why a pod with this status does not run; empty while it is only on its way."""
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message", "no node for it"))
    for container in status.get("containerStatuses", ()):
        waiting = container["state"].get("waiting")
        if waiting is not None and waiting.get("reason", "") not in _WAITING_IS_FINE:
            return f"{waiting['reason']}: {waiting.get('message', '')}"
        ended = container["state"].get("terminated")
        if ended is not None and ended["exitCode"]:
            return f"{ended.get('reason', 'ended')} with status {ended['exitCode']}"
    return ""
