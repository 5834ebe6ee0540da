"""The parts of the Kubernetes API that a load test needs (shell)."""

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
"""The module has no types of its own."""
_STARTING_REASONS: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
"""Reasons of a waiting container that is starting normally."""
_MAX_BODY_LENGTH: Final = 300
"""Characters of an API error's body that are shown."""


class ClusterError(Exception):
    """The cluster cannot be reached, or lacks something; the message says what to do."""


@dataclass(frozen=True)
class EdgeDeployment:
    """The edges of a release.

    Attributes:
        release: name of the Helm release.
        namespace: of the release.
        url: ws://SERVICE.NAMESPACE.svc:PORT/ws.
        image, pull_policy, pull_secrets: of the edges' container.
        ready: number of ready edges.
    """

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
        name: of the pod.
        index: its completion index in the Job.
        phase: "Pending", "Running", "Succeeded" or "Failed".
        trouble: why it does not run; empty if Kubernetes gives no reason.
    """

    name: str
    index: int
    phase: str
    trouble: str


class LoadCluster:
    """The objects of one namespace.

    Args:
        api: client of the cluster.
        namespace: of the release.
        context: name of the context, for messages.
    """

    def __init__(self, api: client.ApiClient, namespace: str, context: str) -> None:
        self.namespace = namespace
        self.context = context
        self._core = client.CoreV1Api(api)
        self._apps = client.AppsV1Api(api)
        self._batch = client.BatchV1Api(api)

    @classmethod
    def connect(cls, namespace: str | None, context: str | None) -> Self:
        """Connect to the cluster that KUBECONFIG (or ~/.kube/config) names.

        Args:
            namespace: None: the context's own.
            context: None: the current one.

        Raises:
            ClusterError: there is no such context.
        """
        try:
            contexts, current = _config.list_kube_config_contexts()
            chosen = next(each for each in contexts if each["name"] == context) if context else current
            api = _config.new_client_from_config(context=chosen["name"])
        except (ConfigException, StopIteration) as error:
            problem = f"there is no context {context!r}" if isinstance(error, StopIteration) else str(error)
            raise ClusterError(
                f"No cluster: {problem.rstrip('.')}. Set KUBECONFIG, or name one of its contexts with --context."
            ) from error
        return cls(api, namespace or chosen["context"].get("namespace") or "default", chosen["name"])

    def find_edge(self, release: str | None) -> EdgeDeployment:
        """The edges of a release.

        Args:
            release: its name; None: the only release in the namespace.

        Raises:
            ClusterError: there is no such release, or more than one, or it has no Service.
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
        return EdgeDeployment(
            release=names[0],
            namespace=self.namespace,
            url=f"ws://{ports[0][0]}.{self.namespace}.svc:{ports[0][1]}/ws",
            image=pod["containers"][0]["image"],
            pull_policy=pod["containers"][0]["imagePullPolicy"],
            pull_secrets=tuple(each["name"] for each in pod.get("imagePullSecrets", ())),
            ready=found[0]["status"].get("readyReplicas", 0),
        )

    def create(self, job: Mapping[str, Any]) -> None:
        """Create the Job."""
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
        """A pod's log; empty if the pod has not started.

        Args:
            pod_name: of the pod.
            last_lines: number of lines from the end; None: all.
        """
        try:
            answer: Any = self._core.read_namespaced_pod_log(
                pod_name, self.namespace, tail_lines=last_lines, _preload_content=False
            )
        except (ApiException, HTTPError):
            return []
        text: bytes = answer.data
        return text.decode("utf-8", "replace").splitlines()

    def delete(self, job_name: str) -> None:
        """Delete the Job and its pods; a Job that is gone already is fine."""
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
        """The answer's JSON: the client's own classes differ from release to release."""
        try:
            answer: Any = method(*arguments, **options, _preload_content=False)
        except ApiException as error:
            raise ClusterError(_sentence(what, error)) from error
        except HTTPError as error:
            raise ClusterError(f"The cluster {self.context} does not answer ({error}); is it running?") from error
        value: dict[str, Any] = json.loads(answer.data)
        return value


def _sentence(what: str, error: ApiException) -> str:
    return f"The cluster did not {what}: {error.status} {error.reason}. {str(error.body or '')[:_MAX_BODY_LENGTH]}"


def trouble(status: Mapping[str, Any]) -> str:
    """Why a pod with this status does not run; empty if it runs or is starting normally."""
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message", "no node fits"))
    for container in status.get("containerStatuses", ()):
        waiting = container["state"].get("waiting")
        if waiting is not None and waiting.get("reason", "") not in _STARTING_REASONS:
            return f"{waiting['reason']}: {waiting.get('message', '')}"
        ended = container["state"].get("terminated")
        if ended is not None and ended["exitCode"]:
            return f"{ended.get('reason', 'ended')} with status {ended['exitCode']}"
    return ""
