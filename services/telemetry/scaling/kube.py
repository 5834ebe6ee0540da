"""Tells Kubernetes which edge pods are the emptiest (shell: its API).

Needs only the right to patch pods in its own namespace; off outside a cluster.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from services.runtime.observability.logging import RepeatLimiter, get_logger
from services.telemetry.keep_on import keep_on
from services.telemetry.metrics import PATCH_RESULTS, TelemetryMetrics
from services.telemetry.scaling.deletion_cost import ANNOTATION, DeletionCosts

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

_log = get_logger(__name__)

LOOK_EVERY_S: Final = 10.0
TIMEOUT_S: Final = 5.0
ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Pods(Protocol):
    """What patches pods."""

    def annotate(self, pod: str, name: str, value: str) -> str:
        """Set an annotation; blocks. One of `PATCH_RESULTS`, never an exception."""


class KubernetesPods:
    """Pods of one namespace, by the official client.

    Args:
        api: of the client.
        namespace: where the pods are.
    """

    def __init__(self, api: CoreV1Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._complaints = RepeatLimiter(300.0)

    def annotate(self, pod: str, name: str, value: str) -> str:
        """See `Pods`."""
        from kubernetes.client.exceptions import ApiException  # noqa: PLC0415 - the client takes a second to import
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - as above

        body = {"metadata": {"annotations": {name: value}}}
        try:
            self._api.patch_namespaced_pod(pod, self._namespace, body, _request_timeout=TIMEOUT_S)
        except ApiException as error:
            if error.status == 404:
                return "gone"
            result = "refused" if error.status in (401, 403) else "failed"
            self._complain(result, f"{error.status} {error.reason}")
            return result
        except (HTTPError, OSError) as error:
            self._complain("failed", f"{type(error).__name__}: {error}")
            return "failed"
        return "done"

    def _complain(self, result: str, detail: str) -> None:
        held_back = self._complaints.admit(result)
        if held_back is not None:
            _log.warning("pod deletion cost not set", detail=detail, namespace=self._namespace, repeats=held_back)


def pods_here(environ: Mapping[str, str] | None = None, account: Path = ACCOUNT) -> KubernetesPods | None:
    """The pods of this pod's own namespace; None outside a cluster, or without a token that would let us in."""
    environ = os.environ if environ is None else environ
    if "KUBERNETES_SERVICE_HOST" not in environ or not (account / "token").is_file():
        return None
    from kubernetes import client, config  # noqa: PLC0415 - see above

    namespace = environ.get("POD_NAMESPACE") or (account / "namespace").read_text().strip()
    # Into a configuration of its own: the client's default is one for the whole process.
    settings = client.Configuration()
    load: Any = config.incluster_config.InClusterConfigLoader  # untyped in the library
    loader = load(token_filename=str(account / "token"), cert_filename=str(account / "ca.crt"), environ=dict(environ))
    loader.load_and_set(settings)
    return KubernetesPods(client.CoreV1Api(client.ApiClient(settings)), namespace)


class CostKeeper:
    """Keeps the deletion cost of edge pods at their listeners.

    Args:
        pods: where they are patched.
        listeners: by pod, of all edges that are up.
        metrics: counts patches.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        pods: Pods,
        listeners: Callable[[], Mapping[str, int]],
        *,
        metrics: TelemetryMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pods = pods
        self._listeners = listeners
        self._metrics = metrics
        self._clock = clock
        self._costs = DeletionCosts()

    async def run(self) -> None:
        """Look every ten seconds, for ever."""
        await keep_on("deletion costs", self.look, lambda: LOOK_EVERY_S)

    async def look(self) -> None:
        """Patch what is due, one after the other."""
        for pod, value in self._costs.due(self._listeners(), self._clock()).items():
            result = await asyncio.to_thread(self._pods.annotate, pod, ANNOTATION, str(value))
            self._costs.tried(pod, value, self._clock(), done=result in ("done", "gone"))
            self._metrics.patches.labels(result=result if result in PATCH_RESULTS else "failed").inc()
