"""The edges' autoscaler on the custom metrics API, with real listeners."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.charts.support import merge
from tests.cluster.conftest import ROOT, Cluster, CommandError, Installed
from tests.cluster.test_disruption import listen_on, lost_nothing
from tests.support.waiting import wait_until

TARGET = 8
"""Listeners that a pod should have on average."""
LONG_S = 900.0
"""Longer than the test; it ends its listeners."""


@pytest.fixture
def metrics_api(cluster: Cluster) -> Iterator[None]:
    """Prometheus and prometheus-adapter with the configuration that k8s/ has."""
    images = {name: os.environ.get(f"AURALIS_TEST_{name}") for name in ("PROMETHEUS", "ADAPTER")}
    if None in images.values():
        pytest.skip("AURALIS_TEST_PROMETHEUS and AURALIS_TEST_ADAPTER name no images: nothing serves custom metrics")
    text = (Path(__file__).parent / "monitoring.yaml").read_text()
    for name, image in images.items():
        text = text.replace(f"{name}_IMAGE", str(image))
    documents = list(yaml.safe_load_all(text.replace("NAMESPACE", cluster.namespace)))
    rules = yaml.safe_load((ROOT / "k8s" / "prometheus-adapter.yaml").read_text())["rules"]
    config = {"rules": rules["custom"], "externalRules": rules["external"]}
    documents.append(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "adapter", "namespace": cluster.namespace},
            "data": {"config.yaml": yaml.safe_dump(config)},
        }
    )
    manifest = yaml.safe_dump_all(documents)
    cluster.everywhere("apply", "-f", "-", stdin=manifest)
    try:
        for name in ("prometheus", "adapter"):
            cluster.kubectl("rollout", "status", f"deployment/{name}", "--timeout=90s")
        yield
    finally:
        cluster.everywhere("delete", "--wait=false", "-f", "-", stdin=manifest)


def count(cluster: Cluster) -> int:
    return sum(
        any(each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", []))
        for pod in cluster.pods("edge")
    )


def wait_for_edges(cluster: Cluster, wanted: int, timeout_s: float, history: list[str], began_s: float) -> None:
    """Return when `wanted` edges are ready; writes down when their number changes."""

    def reached() -> bool:
        now = count(cluster)
        if not history or not history[-1].endswith(f": {now}"):
            history.append(f"{time.monotonic() - began_s:.0f} s: {now}")
        return now == wanted

    try:
        wait_until(reached, timeout_s - (time.monotonic() - began_s), every_s=1)
    except AssertionError:
        hpa = cluster.kubectl("describe", "hpa")
        raise AssertionError(f"{wanted} edges expected, seen {history}\n{hpa}") from None


def custom_metric(cluster: Cluster) -> dict[str, int]:
    path = f"/apis/custom.metrics.k8s.io/v1beta1/namespaces/{cluster.namespace}/pods/*/auralis_listeners"
    found = json.loads(cluster.kubectl("get", "--raw", path))
    return {each["describedObject"]["name"]: int(each["value"].removesuffix("m")) for each in found["items"]}


def external_metric(cluster: Cluster) -> float:
    path = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{cluster.namespace}/auralis_render_load_workers"
    (item,) = json.loads(cluster.kubectl("get", "--raw", path))["items"]
    text: str = item["value"]
    return int(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)


@pytest.mark.usefixtures("metrics_api")
def test_edges_follow_their_listeners_up_and_down_and_no_chunk_is_lost(installed: Installed) -> None:
    cluster = installed.cluster
    values = {
        "type": "hpa",
        "minReplicas": 1,
        "maxReplicas": 4,
        "targetListeners": TARGET,
        # The chart's own policy waits for minutes before it scales down.
        "behavior": {
            "scaleUp": {
                "stabilizationWindowSeconds": 0,
                "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}],
            },
            "scaleDown": {
                "stabilizationWindowSeconds": 0,
                "policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}],
            },
        },
    }
    before = {pod["metadata"]["uid"] for pod in cluster.pods("edge")}
    assert len(before) == 2
    # Two are wanted at first: switching the autoscaler on may not begin by ending one. What tests before this one have
    # set stays as it is, or pods would be replaced for that.
    held = merge(values, {"minReplicas": 2})
    installed.upgrade("--reuse-values", "--set-json", f"edge.autoscaling={json.dumps(held)}")
    assert {pod["metadata"]["uid"] for pod in cluster.pods("edge")} == before
    installed.upgrade("--reuse-values", "--set-json", f"edge.autoscaling={json.dumps(values)}")
    history: list[str] = []
    began_s = time.monotonic()
    wait_for_edges(cluster, 1, 180, history, began_s)

    def served() -> dict[str, int]:
        with contextlib.suppress(CommandError):
            return custom_metric(cluster)
        return {}

    wait_until(served, 60, every_s=1)

    crowd = cluster.start_listeners("crowd", 3 * TARGET, LONG_S)
    wait_for_edges(cluster, 3, 240, history, began_s)
    assert sum(custom_metric(cluster).values()) >= 3 * TARGET
    assert external_metric(cluster) > 0
    # These connect while there are three edges, and two of these edges end.
    guests = cluster.start_listeners("guests", TARGET - 2, LONG_S, first_seed=100)
    lost_nothing(crowd.end(), cluster)
    wait_for_edges(cluster, 1, 420, history, began_s)
    print(f"ready edges over time: {', '.join(history)}")  # noqa: T201 - figures for the report
    listen_on(5)
    report = guests.end()
    lost_nothing(report, cluster)
    assert report["reconnects"] == report["recovered"] >= 1, "no guest was on an edge that went"
    hpa = cluster.get("hpa", "auralis-edge")
    assert hpa["status"]["currentMetrics"][0]["pods"]["metric"]["name"] == "auralis_listeners"
