"""The chart as Helm renders it, and the schemas of Kubernetes."""

from __future__ import annotations

import functools
import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
CHART = ROOT / "charts" / "auralis"
SCHEMAS = Path(__file__).parent / "schemas"
KUBE_VERSIONS = ("1.30", "1.37")
"""The oldest version that the chart supports, and the newest with a schema here."""
PROFILES = ("", "minimal", "cpu-only", "gpu-production")
"""The empty name is values.yaml alone."""
COMPONENTS = ("synthesis", "edge", "telemetry", "nats")

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""SafeLoader, in C if it was built."""

Object = dict[str, Any]


class RenderError(Exception):
    """Helm refused; the message is its standard error."""


def tool(name: str) -> str:
    """The path of a program, from PATH or the folder AURALIS_TOOLS; skips the test without it."""
    extra = os.environ.get("AURALIS_TOOLS", "")
    found = shutil.which(name) or (shutil.which(name, path=extra) if extra else None)
    if found is None:
        pytest.skip(f"{name} is neither on PATH nor in the folder that AURALIS_TOOLS names")
    return found


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program with captured output."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


@dataclass(frozen=True)
class Rendered:
    """The objects of one set of values."""

    objects: tuple[Object, ...]

    def all(self, kind: str) -> list[Object]:
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind: str, name: str) -> Object:
        found = [each for each in self.all(kind) if each["metadata"]["name"] == name]
        assert len(found) == 1, f"{kind} {name}: got {len(found)} of them"
        return found[0]

    def has(self, kind: str, name: str) -> bool:
        return any(each["metadata"]["name"] == name for each in self.all(kind))

    def pods(self) -> Iterator[tuple[str, Object, Object]]:
        """(name, metadata, spec) of the pods of all workloads."""
        for each in self.objects:
            if each["kind"] in ("Deployment", "StatefulSet"):
                template = each["spec"]["template"]
                yield each["metadata"]["name"], template["metadata"], template["spec"]
            elif each["kind"] == "Pod":
                yield each["metadata"]["name"], each["metadata"], each["spec"]

    def pod(self, component: str) -> tuple[Object, Object]:
        """Metadata and spec of a component's pod."""
        for _, metadata, spec in self.pods():
            if metadata["labels"]["app.kubernetes.io/component"] == component:
                return metadata, spec
        raise AssertionError(f"no pod of {component}")

    def secrets(self) -> dict[str, set[str]]:
        return {each["metadata"]["name"]: set(each.get("data", {})) for each in self.all("Secret")}


def render(
    values: Mapping[str, Any] | None = None,
    *,
    profile: str = "",
    kube: str = KUBE_VERSIONS[-1],
    release: str = "auralis",
    namespace: str = "music",
) -> Rendered:
    """`helm template` with `values` over a profile.

    Raises:
        RenderError: Helm refused.
    """
    return _render(json.dumps(values or {}, sort_keys=True), profile, kube, release, namespace)


@functools.cache
def _render(values: str, profile: str, kube: str, release: str, namespace: str) -> Rendered:
    files = ["-f", str(CHART / "profiles" / f"{profile}.yaml")] if profile else []
    done = subprocess.run(
        [tool("helm"), "template", release, str(CHART), "-n", namespace, "--kube-version", kube, *files, "-f", "-"],
        input=values, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RenderError(done.stderr)
    return Rendered(tuple(each for each in yaml.load_all(done.stdout, Loader=LOADER) if each))


def refusal(values: Mapping[str, Any], profile: str = "") -> str:
    """The message with which Helm refuses these values."""
    with pytest.raises(RenderError) as caught:
        render(values, profile=profile)
    return str(caught.value)


@functools.cache
def _schema(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(gzip.decompress((SCHEMAS / f"{name}.json.gz").read_bytes()))
    return schema


@functools.cache
def _validator(kube: str, kind: str) -> jsonschema.Draft7Validator:
    for schema in (_schema(f"kubernetes-{kube}"), _schema("add-ons")):
        if kind in schema["kinds"]:
            return jsonschema.Draft7Validator({**schema["kinds"][kind], "definitions": schema["definitions"]})
    raise AssertionError(f"no schema of {kind}: see schemas/trim.py and schemas/trim_add_ons.py")


def problems(each: Object, kube: str) -> list[str]:
    """Violations of the schema of Kubernetes or of an add-on."""
    validator = _validator(kube, f"{each['apiVersion']}/{each['kind']}")
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(each)]


def main_container(spec: Object) -> Object:
    container: Object = spec["containers"][0]
    return container


def environment(container: Object, rendered: Rendered) -> dict[str, str]:
    """The environment of a container as text; values from Secrets are replaced by stand-ins."""
    values = {}
    for each in container.get("env", []):
        source = each.get("valueFrom", {})
        if "secretKeyRef" in source:
            reference = source["secretKeyRef"]
            known = rendered.secrets()
            if reference["name"] in known:
                assert reference["key"] in known[reference["name"]], f"{reference}: no such key"
            values[each["name"]] = f"stands-for-{reference['key']}"
        elif "resourceFieldRef" in source:
            values[each["name"]] = "2"
        elif "fieldRef" in source:
            values[each["name"]] = "music"
        else:
            values[each["name"]] = each.get("value", "")
    return values


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects `labels`."""
    for name, value in selector.get("matchLabels", {}).items():
        if labels.get(name) != value:
            return False
    for each in selector.get("matchExpressions", []):
        there, value = each["key"] in labels, labels.get(each["key"])
        decided = {
            "In": there and value in each.get("values", ()),
            "NotIn": value not in each.get("values", ()),
            "Exists": there,
            "DoesNotExist": not there,
        }
        if not decided[each["operator"]]:
            return False
    return True


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge values as Helm merges several -f; later ones win."""
    result: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            old = result.get(name)
            result[name] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def tree(path: str, value: Any) -> dict[str, Any]:
    """{"a": {"b": value}} for "a.b"."""
    for name in reversed(path.split(".")):
        value = {name: value}
    result: dict[str, Any] = value
    return result


ON, OFF = {"enabled": True}, {"enabled": False}
HPA: Sequence[dict[str, Any]] = (tree("edge.autoscaling.type", "hpa"), tree("synthesis.autoscaling.type", "hpa"))
KEDA: Sequence[dict[str, Any]] = (tree("edge.autoscaling.type", "keda"), tree("synthesis.autoscaling.type", "keda"))
EVERYTHING = merge(
    *KEDA,
    tree("edge.ingress", {"enabled": True, "tlsSecretName": "certificate"}),
    tree("edge.httpRoute", ON),
    tree("edge.jwt", {"enabled": True, "key": "a key of sixteen or more", "audience": "listeners"}),
    tree("edge.trustedProxies", ["10.0.0.0/8", "192.0.2.1"]),
    tree("nats.tls", ON),
    tree("priorityClasses", {"create": True}),
    tree("monitoring", {"monitors": "ServiceMonitor", "rules": {"enabled": True}, "dashboards": {"enabled": True}}),
    tree("telemetry.prometheusUrl", "http://prometheus.monitoring.svc:9090"),
    tree("commonLabels", {"team": "music"}),
    tree("image", {"registry": "registry.example/music", "pullSecrets": ["puller"]}),
)
EXTERNAL = {
    "nats": {
        "url": "tls://one.example:4222, tls://two.example:4443",
        "auth": {"credentialsSecret": "credentials"},
        "tls": {"enabled": True, "existingSecret": "authority"},
    }
}
VARIANTS: Mapping[str, dict[str, Any]] = {
    "as it is": {},
    "hpa": merge(*HPA),
    "everything": EVERYTHING,
    "external nats": EXTERNAL,
    "time slices": tree("synthesis.gpu", {"sharing": "time-slicing", "runtimeClassName": "nvidia"}),
    "a part of a GPU": tree("synthesis.gpu", {"sharing": "mig", "migProfile": "1g.10gb"}),
    "pod monitors": {"monitoring": {"monitors": "PodMonitor"}},
    "secrets of others": merge(
        tree("edge.existingSecret", "edges"), tree("nats.auth.existingSecret", "bus"), tree("edge.jwt", ON)
    ),
    "nothing extra": {
        "networkPolicy": {"enabled": False},
        "telemetry": {"podDeletionCost": {"enabled": False}},
        "monitoring": {"annotations": False},
        "tests": {"enabled": False},
        "nats": {"auth": {"enabled": False}},
        "gpuNodes": {"avoid": "none"},
    },
    "edges alone": {"synthesis": {"enabled": False}, "telemetry": {"enabled": False}, **EXTERNAL},
}  # fmt: skip
