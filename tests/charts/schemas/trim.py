"""Cut Kubernetes' OpenAPI document down to the kinds that the chart makes, as JSON Schema.

    python tests/charts/schemas/trim.py api/openapi-spec/swagger.json tests/charts/schemas/kubernetes-1.37.json.gz

The document is part of each Kubernetes release (Apache-2.0). Field names, types and required fields are kept, texts are
not; an object with listed fields takes no others, so that a misspelt field is found.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

KINDS = (
    "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
    "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding",
    "io.k8s.api.apps.v1.Deployment",
    "io.k8s.api.apps.v1.StatefulSet",
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    "io.k8s.api.batch.v1.Job",
    "io.k8s.api.core.v1.ConfigMap",
    "io.k8s.api.core.v1.Namespace",
    "io.k8s.api.core.v1.Pod",
    "io.k8s.api.core.v1.Secret",
    "io.k8s.api.core.v1.Service",
    "io.k8s.api.core.v1.ServiceAccount",
    "io.k8s.api.networking.v1.Ingress",
    "io.k8s.api.networking.v1.NetworkPolicy",
    "io.k8s.api.policy.v1.PodDisruptionBudget",
    "io.k8s.api.rbac.v1.Role",
    "io.k8s.api.rbac.v1.RoleBinding",
    "io.k8s.api.scheduling.v1.PriorityClass",
)
KEPT = ("type", "format", "required", "enum", "items", "properties", "additionalProperties", "$ref")
# Written as a number or as text: 1, "25%", "500m".
EITHER = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["integer", "string"]},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["number", "string"]},
}
PREFIX = "#/definitions/"


def main(source: str, target: str) -> None:
    """Trim `source` into `target`."""
    definitions: dict[str, Any] = json.loads(Path(source).read_text())["definitions"]
    wanted = list(KINDS)
    kept: dict[str, Any] = {}
    while wanted:
        name = wanted.pop()
        if name in kept:
            continue
        kept[name] = EITHER.get(name) or _trim(definitions[name], wanted)
    kinds = {}
    for name in KINDS:
        for kind in definitions[name]["x-kubernetes-group-version-kind"]:
            version = "/".join(filter(None, (kind["group"], kind["version"])))
            kinds[f"{version}/{kind['kind']}"] = {"$ref": PREFIX + name}
    document = {"kinds": kinds, "definitions": dict(sorted(kept.items()))}
    text = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    # Without a time in it, the same input gives the same file.
    Path(target).write_bytes(gzip.compress(text, mtime=0))


def _trim(schema: Any, wanted: list[str]) -> Any:
    trimmed = {name: value for name, value in schema.items() if name in KEPT}
    if "$ref" in trimmed:
        wanted.append(trimmed["$ref"].removeprefix(PREFIX))
    if "properties" in trimmed:
        trimmed["properties"] = {name: _trim(value, wanted) for name, value in trimmed["properties"].items()}
        trimmed["additionalProperties"] = False
    elif "additionalProperties" in trimmed:
        trimmed["additionalProperties"] = _trim(trimmed["additionalProperties"], wanted)
    if "items" in trimmed:
        trimmed["items"] = _trim(trimmed["items"], wanted)
    return trimmed


if __name__ == "__main__":
    main(*sys.argv[1:])
