"""Patching pods, against an API server of the test's own; tests/cluster does it against a real one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from services.runtime.metrics import PrometheusMetrics
from services.telemetry.metrics import TelemetryMetrics
from services.telemetry.scaling.kube import CostKeeper, KubernetesPods, own_namespace
from tests.support.metrics import sample_value


class ApiServer(ThreadingHTTPServer):
    """Records requests, and answers them with `status`."""

    status = 200
    requests: list[tuple[str, str, str, Any]]


class Handler(BaseHTTPRequestHandler):
    server: ApiServer

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append((self.command, self.path, self.headers["content-type"], body))
        answer = json.dumps({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "edge-a"}}).encode()
        self.send_response(self.server.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def api_server() -> Iterator[ApiServer]:
    server = ApiServer(("127.0.0.1", 0), Handler)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def keeper(server: ApiServer, listeners: dict[str, int]) -> tuple[CostKeeper, TelemetryMetrics]:
    configuration = client.Configuration(host=f"http://127.0.0.1:{server.server_port}")
    configuration.retries = False
    metrics = TelemetryMetrics(PrometheusMetrics())
    pods = KubernetesPods(client.CoreV1Api(client.ApiClient(configuration)), "music")
    now_s = iter(float(n) for n in range(0, 100_000, 100))
    return CostKeeper(pods, lambda: listeners, metrics=metrics, clock=lambda: next(now_s)), metrics


async def test_a_patch_names_the_annotation_and_nothing_else() -> None:
    with api_server() as server:
        costs, metrics = keeper(server, {"edge-a": 137})
        await costs.update()
    ((method, path, content_type, body),) = server.requests
    assert (method, path) == ("PATCH", "/api/v1/namespaces/music/pods/edge-a")
    assert "patch+json" in content_type
    assert body == {"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "100"}}}
    assert sample_value(metrics.patches, result="done") == 1


@pytest.mark.parametrize(
    ("status", "result", "tries"), [(404, "gone", 1), (403, "refused", 3), (500, "failed", 3), (200, "done", 1)]
)
async def test_every_answer_is_counted_and_none_ends_the_service(status: int, result: str, tries: int) -> None:
    with api_server() as server:
        server.status = status
        costs, metrics = keeper(server, {"edge-a": 5})
        for _ in range(3):
            await costs.update()
    assert sample_value(metrics.patches, result=result) == tries


async def test_a_server_that_does_not_answer_is_counted() -> None:
    with api_server() as server:
        costs, metrics = keeper(server, {"edge-a": 5})
    await costs.update()
    assert sample_value(metrics.patches, result="failed") == 1


def test_outside_a_cluster_and_without_a_token_pods_are_not_patched(tmp_path: Path) -> None:
    assert own_namespace({}) is None
    assert own_namespace({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path) is None


def test_in_a_pod_the_pods_own_service_account_is_used(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token")
    (tmp_path / "ca.crt").write_text("not read before the first request")
    (tmp_path / "namespace").write_text("music\n")
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    pods = own_namespace(environ, tmp_path)
    assert pods is not None
    assert pods._namespace == "music"
    configuration = pods._api.api_client.configuration
    assert configuration.host == "https://10.0.0.1:443"
    assert configuration.auth_settings()["BearerToken"]["value"] == "bearer a-token"
    other = own_namespace({**environ, "POD_NAMESPACE": "other"}, tmp_path)
    assert other is not None
    assert other._namespace == "other"
