"""Who listens where, and the Job that makes them do it. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from services.loadtest.messages import Wire

APP: Final = "auralis-loadtest"
STARTING_S: Final = 300
"""Pods may wait so long for a node and an image."""
KEPT_S: Final = 600
"""A finished Job that nobody took away goes by itself after this."""


def share(total: int, of: int, index: int) -> tuple[int, int]:
    """What number `index` of `of` gets of `total`: the first one's number, and how many."""
    first = total * index // of
    return first, total * (index + 1) // of - first


@dataclass(frozen=True)
class LoadPlan:
    """A load test.

    Attributes:
        name: of the Job, unique in its namespace.
        listeners, pods: over how many pods they are spread.
        seconds, ramp_s, streams, seed, wire: see services/loadtest/listeners.py.
        url: of the edges, as the pods reach it.
        image, pull_policy: whose `python -m services.loadtest.listeners` is run: an edge's image has it.
        token_secret: a Secret with a JWT under the key `token`; empty: none.
        node_selector: where the pods may run.
    """

    name: str
    listeners: int
    pods: int
    seconds: float
    ramp_s: float
    streams: int
    url: str
    image: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    seed: int = 1
    wire: Wire = "pcm"
    token_secret: str = ""
    node_selector: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 1 <= self.pods <= self.listeners:
            raise ValueError(f"pods: got {self.pods}, expected 1 to {self.listeners}, one listener each at least")
        if self.seconds <= 0 or self.ramp_s < 0 or self.streams < 1:
            raise ValueError("seconds must be more than 0, ramp 0 or more, streams 1 or more")

    @property
    def total_s(self) -> float:
        """From a pod's first listener to its result."""
        return self.ramp_s + self.seconds


def job(plan: LoadPlan) -> dict[str, Any]:
    """An indexed Job: each pod knows by its index which listeners are its own."""
    memory_mib = 96 + math.ceil(plan.listeners / plan.pods * 0.15)
    labels = {"app.kubernetes.io/name": APP, "app.kubernetes.io/instance": plan.name}
    environment: list[dict[str, Any]] = []
    if plan.token_secret:
        environment.append(
            {"name": "AURALIS_TOKEN", "valueFrom": {"secretKeyRef": {"name": plan.token_secret, "key": "token"}}}
        )
    command = ["python", "-m", "services.loadtest.listeners", plan.url]
    for name, value in (
        ("listeners", plan.listeners), ("of", plan.pods), ("seconds", plan.seconds), ("ramp", plan.ramp_s),
        ("streams", plan.streams), ("seed", plan.seed), ("format", plan.wire),
    ):  # fmt: skip
        command += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": plan.name, "labels": labels},
        "spec": {
            "completionMode": "Indexed",
            "completions": plan.pods,
            "parallelism": plan.pods,
            # A second attempt would be another test.
            "backoffLimit": 0,
            "activeDeadlineSeconds": math.ceil(STARTING_S + plan.total_s + 60),
            "ttlSecondsAfterFinished": KEPT_S,
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 5,
                    "nodeSelector": dict(plan.node_selector),
                    "imagePullSecrets": [{"name": name} for name in plan.pull_secrets],
                    # Not all on one node, where there are several.
                    "topologySpreadConstraints": [
                        {
                            "maxSkew": 1,
                            "topologyKey": "kubernetes.io/hostname",
                            "whenUnsatisfiable": "ScheduleAnyway",
                            "labelSelector": {"matchLabels": labels},
                        }
                    ],
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 10001,
                        "runAsGroup": 10001,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [
                        {
                            "name": "drain",
                            "image": plan.image,
                            "imagePullPolicy": plan.pull_policy,
                            "command": command,
                            "env": environment,
                            "resources": {
                                "requests": {"cpu": "100m", "memory": f"{memory_mib}Mi"},
                                "limits": {"memory": f"{2 * memory_mib}Mi"},
                            },
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "readOnlyRootFilesystem": True,
                                "capabilities": {"drop": ["ALL"]},
                            },
                        }
                    ],
                },
            },
        },
    }
