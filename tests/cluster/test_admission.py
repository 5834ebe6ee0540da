"""What a real API server says to everything that the chart can make."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
import yaml

from tests.charts.support import EVERYTHING, EXTERNAL, HPA, PROFILES, VARIANTS, merge, render
from tests.cluster.conftest import Cluster

CASES: dict[str, tuple[dict[str, Any], str]] = {
    **{f"profile {profile or 'default'}": ({}, profile) for profile in PROFILES},
    "everything": (EVERYTHING, ""),
    "hpa": (merge(*HPA), ""),
    "external nats": (EXTERNAL, ""),
    "time slices": (VARIANTS["time slices"], ""),
    "nothing extra": (VARIANTS["nothing extra"], ""),
}


@pytest.fixture(scope="session")
def kinds(cluster: Cluster) -> set[str]:
    """Kinds that this cluster knows."""
    lines = cluster.kubectl("api-resources", "--no-headers").splitlines()
    return {line.split()[-1] for line in lines}


@pytest.mark.parametrize("case", CASES)
def test_the_api_server_takes_every_object_without_a_warning(cluster: Cluster, kinds: set[str], case: str) -> None:
    values, profile = CASES[case]
    rendered = render(values, profile=profile, release="dry", namespace=cluster.namespace)
    known = [each for each in rendered.objects if each["kind"] in kinds]
    assert {"Deployment", "NetworkPolicy", "PodDisruptionBudget"} & {each["kind"] for each in known}
    done = subprocess.run(
        [cluster.kubectl_path, "-n", cluster.namespace, "apply", "--dry-run=server", "--validate=strict", "-f", "-"],
        input=yaml.safe_dump_all(known), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # Pod security and deprecations are told as warnings.
    assert done.stderr.strip() == ""
    assert done.stdout.count("dry run") == len(known)
