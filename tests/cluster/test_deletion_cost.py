"""Telemetry's right to patch pods, and what it does with it, against a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from services.runtime.metrics import PrometheusMetrics
from services.telemetry.metrics import TelemetryMetrics
from services.telemetry.scaling.deletion_cost import ANNOTATION
from services.telemetry.scaling.kube import CostKeeper, KubernetesPods
from tests.cluster.conftest import CHART, Cluster, CommandError
from tests.support.metrics import sample_value
from tests.support.waiting import wait_until

ACCOUNT = "auralis-telemetry"
KINDS = (
    "ServiceAccount", "Role", "RoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
)  # fmt: skip
LABELS = {"app.kubernetes.io/instance": "auralis", "app.kubernetes.io/component": "edge"}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    # It need not run to be marked.
    "spec": {
        "schedulerName": "none",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "edge",
                "image": "nothing",
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    },
}


@pytest.fixture
def pods(cluster: Cluster) -> Iterator[KubernetesPods]:
    """The API as telemetry's own service account may use it, with the chart's own Role."""
    rendered = cluster.helm("template", "auralis", str(CHART), "--kube-version=1.34")
    names = (ACCOUNT, f"{cluster.namespace}-{ACCOUNT}")
    wanted = [
        each
        for each in yaml.safe_load_all(rendered)
        if each and each["kind"] in KINDS and each["metadata"]["name"] in names
    ]
    assert {each["kind"] for each in wanted} == set(KINDS)
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": wanted})
    cluster.kubectl("apply", "-f", "-", stdin=manifest)
    token = cluster.kubectl("create", "token", ACCOUNT).strip()
    settings = client.Configuration()
    config.load_kube_config(client_configuration=settings)
    # Of the client's own identity only the server's address and certificate are kept.
    settings.cert_file = settings.key_file = None
    settings.api_key = {"BearerToken": token}
    settings.api_key_prefix = {"BearerToken": "Bearer"}
    settings.refresh_api_key_hook = None
    api = client.CoreV1Api(client.ApiClient(settings))
    yield KubernetesPods(api, cluster.namespace)
    # Helm installs nothing over objects that it did not make.
    cluster.kubectl("delete", "-f", "-", stdin=manifest)


def annotation(cluster: Cluster, pod: str) -> str | None:
    found: str | None = cluster.get("pod", pod)["metadata"].get("annotations", {}).get(ANNOTATION)
    return found


async def test_edges_are_marked_with_their_listeners_and_nothing_else_is_allowed(
    cluster: Cluster, pods: KubernetesPods
) -> None:
    names = ("marked-a", "marked-b")
    for name in names:
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps({**POD, "metadata": {"name": name, "labels": LABELS}}))
    try:
        listeners = {"marked-a": 137, "marked-b": 3, "gone": 5}
        now_s = [0.0]
        metrics = TelemetryMetrics(PrometheusMetrics())
        keeper = CostKeeper(pods, lambda: listeners, metrics=metrics, clock=lambda: now_s[0])
        await keeper.update()
        assert [annotation(cluster, name) for name in names] == ["100", "3"]
        assert sample_value(metrics.patches, result="done") == 2
        assert sample_value(metrics.patches, result="gone") == 1

        listeners["marked-a"] = 0
        await keeper.update()
        assert annotation(cluster, "marked-a") == "100", "at most once a minute a pod"
        now_s[0] = 61.0
        await keeper.update()
        assert annotation(cluster, "marked-a") == "0"

        me = f"--as=system:serviceaccount:{cluster.namespace}:{ACCOUNT}"
        for verb, what in (("delete", "pods"), ("list", "pods"), ("get", "secrets"), ("patch", "deployments")):
            with pytest.raises(CommandError):
                cluster.kubectl("auth", "can-i", verb, what, me)
        pods._namespace = "kube-system"
        assert pods.annotate("marked-a", ANNOTATION, "1") == "refused"
    finally:
        cluster.kubectl("delete", "pod", *names, "--force", "--grace-period=0")


EDGE: dict[str, Any] = {
    "labels": {**LABELS, "of": "ours"},
    "annotations": {"checksum/secret": "0", "prometheus.io/port": "9090"},
}
ATTACKS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("edge", {"spec": {"containers": [{"name": "edge", "image": "evil"}]}}),
    ("edge", {"spec": {"tolerations": [{"operator": "Exists"}]}}),
    ("edge", {"spec": {"activeDeadlineSeconds": 1}}),
    ("edge", {"metadata": {"labels": {"app.kubernetes.io/component": "synthesis"}}}),
    ("edge", {"metadata": {"labels": {"more": "one"}}}),
    ("edge", {"metadata": {"labels": {"of": None}}}),
    ("edge", {"metadata": {"annotations": {"prometheus.io/port": "1"}}}),
    ("edge", {"metadata": {"annotations": {"more": "one"}}}),
    ("edge", {"metadata": {"annotations": {"checksum/secret": None}}}),
    ("edge", {"metadata": {"finalizers": ["example.org/for-ever"]}}),
    ("edge", {"metadata": {"annotations": {ANNOTATION: "5"}, "labels": {"more": "one"}}}),
    ("synthesis", {"metadata": {"labels": {"app.kubernetes.io/component": "edge"}}}),
    ("synthesis", {"metadata": {"annotations": {ANNOTATION: "5"}}}),
    ("stranger", {"metadata": {"annotations": {ANNOTATION: "5"}}}),
    ("stranger", {"metadata": {"labels": LABELS}}),
)


def test_telemetry_s_account_changes_nothing_of_a_pod_but_the_deletion_cost_of_edges(
    cluster: Cluster, pods: KubernetesPods
) -> None:
    metadata = {
        "edge": EDGE,
        "synthesis": {"labels": {**LABELS, "app.kubernetes.io/component": "synthesis"}},
        "stranger": {"labels": {"app": "database"}},
    }
    for name, each in metadata.items():
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps({**POD, "metadata": {"name": name, **each}}))
    try:
        # A policy takes effect a moment after it is made.
        wait_until(lambda: patched(pods, cluster, "stranger", {"metadata": {"annotations": {"at": "work"}}}) == 422, 30)
        before = {name: cluster.get("pod", name) for name in metadata}
        let_through = [attack for attack in ATTACKS if patched(pods, cluster, *attack) != 422]
        assert let_through == []
        for name, pod in before.items():
            now = cluster.get("pod", name)
            assert (now["spec"], now["metadata"]["labels"]) == (pod["spec"], pod["metadata"]["labels"])
            assert now["metadata"].get("annotations") == pod["metadata"].get("annotations")
        for value in ("5", "7"):
            assert pods.annotate("edge", ANNOTATION, value) == "done"
            assert annotation(cluster, "edge") == value
    finally:
        cluster.kubectl("delete", "pod", *metadata, "--force", "--grace-period=0")


def patched(pods: KubernetesPods, cluster: Cluster, name: str, body: dict[str, Any]) -> int:
    """The status of a patch by telemetry's account."""
    try:
        pods._api.patch_namespaced_pod(name, cluster.namespace, body)
    except ApiException as error:
        return int(error.status)
    return 200
