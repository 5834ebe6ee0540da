"""Keeps the deletion cost of edge pods at their number of listeners (shell: the Kubernetes API).

It needs the right to patch pods in its own namespace, and does nothing outside a cluster.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from services.runtime.observability.logging import get_logger
from services.runtime.observability.rate_limited_log import RateLimitedLog
from services.telemetry.metrics import PATCH_RESULTS, TelemetryMetrics
from services.telemetry.periodic import run_periodically
from services.telemetry.scaling.deletion_cost import ANNOTATION, DeletionCosts

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

_log = get_logger(__name__)

UPDATE_EVERY_S: Final = 10.0
"""Time between two checks of which pods to patch."""
TIMEOUT_S: Final = 5.0
"""How long a patch may take."""
LOGGED_EVERY_S: Final = 300.0
"""Time between two log lines of the same failure."""
ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class Pods(Protocol):
    """Patches pods."""

    def annotate(self, pod: str, name: str, value: str) -> str:
        """Set an annotation; blocks. Returns one of `PATCH_RESULTS` and raises nothing."""


class KubernetesPods:
    """Pods of one namespace, through the official client.

    Args:
        api: the client.
        namespace: of the pods.
    """

    def __init__(self, api: CoreV1Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._rare = RateLimitedLog(_log, LOGGED_EVERY_S)

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
            self._warn(result, f"{error.status} {error.reason}")
            return result
        except (HTTPError, OSError) as error:
            self._warn("failed", f"{type(error).__name__}: {error}")
            return "failed"
        return "done"

    def _warn(self, result: str, detail: str) -> None:
        self._rare.warning("pod deletion cost not set", key=result, detail=detail, namespace=self._namespace)


def own_namespace(environ: Mapping[str, str] | None = None, account: Path = ACCOUNT) -> KubernetesPods | None:
    """The pods of this pod's own namespace; None outside a cluster, or without a service account's token.

    Args:
        environ: None: this process's own.
        account: folder of the service account.
    """
    environ = os.environ if environ is None else environ
    if "KUBERNETES_SERVICE_HOST" not in environ or not (account / "token").is_file():
        return None
    from kubernetes import client, config  # noqa: PLC0415 - see above

    namespace = environ.get("POD_NAMESPACE") or (account / "namespace").read_text().strip()
    # A configuration of our own: the client's default one is shared by the whole process.
    settings = client.Configuration()
    load: Any = config.incluster_config.InClusterConfigLoader  # untyped in the library
    loader = load(token_filename=str(account / "token"), cert_filename=str(account / "ca.crt"), environ=dict(environ))
    loader.load_and_set(settings)
    return KubernetesPods(client.CoreV1Api(client.ApiClient(settings)), namespace)


class CostKeeper:
    """Keeps the deletion cost of edge pods at their listeners.

    Args:
        pods: patches them.
        listeners: gives the listeners of each edge pod that is up.
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
        """Update the costs every ten seconds, for ever."""
        await run_periodically("deletion costs", self.update, lambda: UPDATE_EVERY_S)

    async def update(self) -> None:
        """Patch the pods that are due, one after the other."""
        for pod, value in self._costs.due(self._listeners(), self._clock()).items():
            result = await asyncio.to_thread(self._pods.annotate, pod, ANNOTATION, str(value))
            self._costs.tried(pod, value, self._clock(), done=result in ("done", "gone"))
            self._metrics.patches.labels(result=result if result in PATCH_RESULTS else "failed").inc()
