"""Nodes with GPUs: a node that only the API server knows of shows what the scheduler does with the chart's pods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.conftest import CHART, Cluster
from tests.support.waiting import wait_until

NODE = "auralis-test-gpu"
RELEASE = "gpu"


@pytest.fixture
def gpu_node(cluster: Cluster) -> Iterator[str]:
    """A node with two GPUs, reserved by a taint. Nothing runs on it: there is no kubelet."""
    node: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": NODE,
            "labels": {"kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux", "nvidia.com/gpu.present": "true"},
        },
        "spec": {"taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]},
    }
    amounts = {"cpu": "64", "memory": "256Gi", "pods": "110", "ephemeral-storage": "500Gi", "nvidia.com/gpu": "2"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(node))
    status = {"status": {"capacity": amounts, "allocatable": amounts, "conditions": [ready]}}
    cluster.kubectl("patch", "node", NODE, "--subresource=status", "--type=merge", "-p", json.dumps(status))
    # As the node controller would: a node that has never been heard of starts as not ready.
    cluster.kubectl("patch", "node", NODE, "--type=merge", "-p", json.dumps({"spec": node["spec"]}))
    yield NODE
    cluster.kubectl("delete", "node", NODE)


def placed(cluster: Cluster) -> dict[str, set[str]]:
    """Part -> the nodes that its pods were given; empty text: none yet."""
    pods = cluster.get("pods", "-l", f"app.kubernetes.io/instance={RELEASE}")["items"]
    found: dict[str, set[str]] = {}
    for pod in pods:
        part = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        found.setdefault(part, set()).add(pod["spec"].get("nodeName", ""))
    return found


def test_the_default_profile_puts_workers_on_gpu_nodes_and_nothing_else(cluster: Cluster, gpu_node: str) -> None:
    # Small, so that the rest of it fits onto whatever node the cluster has; it need not run.
    small = [
        f"{part}.resources.requests.{what}"
        for part, what in (("edge", "cpu=10m"), ("edge", "memory=16Mi"), ("nats", "cpu=10m"), ("nats", "memory=16Mi"))
    ]
    flags = [word for each in small for word in ("--set", each)]
    cluster.helm(
        "install", RELEASE, str(CHART), *flags, "--set", "synthesis.replicas=2", "--set", "image.pullPolicy=Never"
    )
    try:

        def all_placed() -> dict[str, set[str]] | None:
            found = placed(cluster)
            nodes = set().union(*found.values()) if found else {""}
            return found if set(found) == {"synthesis", "edge", "telemetry", "nats"} and "" not in nodes else None

        found = wait_until(all_placed, 60, every_s=0.5)
        assert found.pop("synthesis") == {gpu_node}
        assert gpu_node not in set().union(*found.values())
        # Two GPUs, two workers: a third one waits.
        cluster.kubectl("scale", f"deployment/{RELEASE}-auralis-synthesis", "--replicas=3")
        wait_until(lambda: "Insufficient nvidia.com/gpu" in cluster.kubectl("get", "events"), 30, every_s=0.5)
    finally:
        cluster.helm("uninstall", RELEASE)
