"""Secrets that the chart generates, over upgrades and rollbacks; no pod needs to run for that."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest

from tests.cluster.conftest import CHART, Cluster

RELEASE = "kept"
PASSWORDS, EARLIER = "kept-auralis-nats-passwords", "kept-auralis-nats-auth"


@pytest.fixture
def release(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster from which the release of a test is taken away."""
    yield cluster
    cluster.helm("uninstall", RELEASE, "--ignore-not-found", "--wait")
    names = [each["metadata"]["name"] for each in cluster.get("secrets")["items"]]
    if ours := [name for name in names if name.startswith(f"{RELEASE}-")]:
        cluster.kubectl("delete", "secret", *ours)


def upgraded(cluster: Cluster) -> None:
    cluster.helm("upgrade", "--install", RELEASE, str(CHART), "--set", "synthesis.enabled=false,nats.tls.enabled=true")


def password(cluster: Cluster, secret: str = PASSWORDS, user: str = "edge") -> str:
    return base64.b64decode(cluster.get("secret", secret)["data"][user]).decode()


def checksums(cluster: Cluster) -> dict[str, str]:
    """What restarts the edges when it changes."""
    template = cluster.get("deployment", "kept-auralis-edge")["spec"]["template"]
    return {name: text for name, text in template["metadata"]["annotations"].items() if name.startswith("checksum/")}


def test_no_rollback_brings_an_old_password_back(release: Cluster) -> None:
    upgraded(release)
    first, sums = password(release), checksums(release)
    upgraded(release)
    assert (password(release), checksums(release)) == (first, sums), "an upgrade changes and restarts nothing"

    release.kubectl("delete", "secret", PASSWORDS)
    upgraded(release)
    second = password(release)
    assert second != first
    assert checksums(release) != sums, "the edges restart"
    release.helm("rollback", RELEASE, "1")
    assert password(release) == second

    by_hand = {"stringData": {"edge": "aByHand0123456789"}}
    release.kubectl("patch", "secret", PASSWORDS, "--type=merge", "-p", json.dumps(by_hand))
    upgraded(release)
    release.helm("rollback", RELEASE, "1")
    assert password(release) == "aByHand0123456789"

    release.kubectl("patch", "secret", PASSWORDS, "--type=json", "-p", '[{"op": "remove", "path": "/data/edge"}]')
    synthesis = password(release, user="synthesis")
    upgraded(release)
    assert password(release)
    assert password(release, user="synthesis") == synthesis, "only the key that is missing is made"


def test_the_passwords_of_an_earlier_chart_are_taken_over_once(release: Cluster) -> None:
    earlier = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": EARLIER,
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {
                "meta.helm.sh/release-name": RELEASE,
                "meta.helm.sh/release-namespace": release.namespace,
            },
        },
        "stringData": {"synthesis": "aSynthesis0123456", "edge": "anEdge0123456789", "telemetry": "aTelemetry012345"},
    }
    release.kubectl("apply", "-f", "-", stdin=json.dumps(earlier))
    upgraded(release)
    assert password(release) == "anEdge0123456789"
    assert password(release, EARLIER) == "anEdge0123456789", "the pods of that chart still read it"
    release.kubectl("delete", "secret", PASSWORDS)
    upgraded(release)
    assert password(release) != "anEdge0123456789"
