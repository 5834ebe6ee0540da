"""The Job of a load test: which pod runs which listeners. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from services.loadtest.messages import Wire

APP: Final = "auralis-loadtest"
START_TIMEOUT_S: Final = 300
"""How long pods may wait for a node and an image."""
KEPT_S: Final = 600
"""Kubernetes deletes a finished Job after this time, if the command did not."""
END_MARGIN_S: Final = 60
"""Time beyond the plan after which pods count as stuck."""
BASE_MEMORY_MIB: Final = 96
"""Memory of a pod without listeners."""
MEMORY_PER_LISTENER_MIB: Final = 0.15
"""Memory of one listener; the limit of a pod is twice its request."""


def share(total: int, of: int, index: int) -> tuple[int, int]:
    """The share of process `index` of `of` in `total` listeners: its first listener's number, and how many."""
    first = total * index // of
    return first, total * (index + 1) // of - first


@dataclass(frozen=True)
class LoadPlan:
    """A load test.

    Attributes:
        name: of the Job, unique in its namespace.
        listeners: of all pods together.
        pods: number of pods that share them.
        seconds, ramp_s, streams, seed, wire: see `ListenerOptions`.
        url: address of the edges inside the cluster.
        image, pull_policy, pull_secrets: image with `services.loadtest` in it, such as an edge's.
        token_secret: a Secret with a JWT under the key `token`; empty: none.
        node_selector: (label, value) pairs of the nodes where pods may run.

    Raises:
        ValueError: a number is out of range.
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
        """Check the numbers."""
        if not 1 <= self.pods <= self.listeners:
            raise ValueError(f"pods: got {self.pods}, expected 1 to {self.listeners}, one listener each at least")
        if self.seconds <= 0 or self.ramp_s < 0 or self.streams < 1:
            raise ValueError("seconds must be more than 0, ramp 0 or more, streams 1 or more")

    @property
    def total_s(self) -> float:
        """Seconds from a pod's first listener to its result."""
        return self.ramp_s + self.seconds


def job(plan: LoadPlan) -> dict[str, Any]:
    """An indexed Job: a pod's index decides which listeners it runs."""
    memory_mib = BASE_MEMORY_MIB + math.ceil(plan.listeners / plan.pods * MEMORY_PER_LISTENER_MIB)
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
            "activeDeadlineSeconds": math.ceil(START_TIMEOUT_S + plan.total_s + END_MARGIN_S),
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
                    # Spread over nodes, if there are several.
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
                            "name": "listeners",
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
