"""Values: strict, documented, and refused with helpful messages."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from tests.charts.support import CHART, COMPONENTS, EXTERNAL, OFF, ON, PROFILES, ROOT, merge, refusal, render, tree


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (tree("edge.replicaCount", 2), ["'/edge'", "'replicaCount' not allowed"]),
        (tree("edge.maxConnections", None), ["'/edge'", "missing property 'maxConnections'"]),
        (tree("egde.replicas", 2), ["'egde' not allowed"]),
        (tree("edge.replicas", "two"), ["'/edge/replicas'", "got string, want integer"]),
        (tree("edge.autoscaling.type", "both"), ["'/edge/autoscaling/type'", "'none', 'hpa', 'keda'"]),
        (tree("synthesis.device", "mps"), ["'/synthesis/device'", "'cuda', 'cpu'"]),
        (tree("synthesis.batchSize", "many"), ["'/synthesis/batchSize'", "'many' does not match"]),
        (tree("synthesis.batchSize", 0), ["'/synthesis/batchSize'", "got 0, want 1"]),
        (tree("synthesis.gpu.count", 0), ["'/synthesis/gpu/count'", "got 0, want 1"]),
        (tree("synthesis.gpu.sharing", "halves"), ["'/synthesis/gpu/sharing'", "'time-slicing'"]),
        (tree("edge.buffer.initialTier", "deep"), ["'/edge/buffer/initialTier'", "'minimal', 'normal'"]),
        (tree("edge.allowedOrigins", ["radio.example"]), ["'/edge/allowedOrigins/0'", "'radio.example'"]),
        (tree("edge.rateLimitChunksPerSecond", 5), ["'/edge/rateLimitChunksPerSecond'", "got 5, want 11"]),
        (tree("settings.logLevel", "LOUD"), ["'/settings/logLevel'", "'DEBUG', 'INFO'"]),
        (tree("settings.internalPort", 8000), ["'/settings/internalPort'"]),
        (tree("monitoring", {"monitors": True}), ["'/monitoring/monitors'", "'PodMonitor'"]),
        (tree("image.registry", "https://registry.example"), ["'/image/registry'"]),
        (tree("telemetry.prometheusUrl", "prometheus:9090"), ["'/telemetry/prometheusUrl'", "'prometheus:9090'"]),
        (tree("telemetry.prometheusUrl", "http://me:secret@prometheus"), ["'/telemetry/prometheusUrl'"]),
    ],
)
def test_an_invalid_value_is_refused_by_name(values: dict[str, Any], words: list[str]) -> None:
    said = refusal(values)
    assert [word for word in words if word not in said] == [], said


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            tree("synthesis.autoscaling", {"type": "keda", "minReplicas": 0}),
            "synthesis.autoscaling.minReplicas: got 0 with type keda and allowZero false, expected 1 or more",
        ),
        (
            tree("synthesis.autoscaling", {"type": "hpa", "minReplicas": 0, "allowZero": True}),
            "synthesis.autoscaling.minReplicas: got 0 with type hpa and allowZero true, expected 1 or more",
        ),
        (
            tree("edge.autoscaling", {"type": "hpa", "minReplicas": 9, "maxReplicas": 3}),
            "edge.autoscaling.minReplicas: got 9, expected at most maxReplicas, which is 3",
        ),
        (
            tree("edge.autoscaling", {"type": "hpa", "targetListeners": 5000}),
            "edge.autoscaling.targetListeners: got 5000, expected less than edge.maxConnections, which is 5000",
        ),
        (
            tree("edge.autoscaling", {"type": "keda", "keda": {"fallbackReplicas": 99}}),
            "edge.autoscaling.keda.fallbackReplicas: got 99, expected a number from minReplicas (2) to",
        ),
        (
            merge(
                tree("edge.autoscaling", {"type": "keda", "keda": {"source": "telemetry"}}),
                tree("telemetry", OFF),
            ),
            "edge.autoscaling.keda.source: got telemetry, but telemetry.enabled is false",
        ),
        (tree("synthesis.gpu.sharing", "mig"), "synthesis.gpu.migProfile: got nothing with sharing mig"),
        (
            tree("synthesis.strategy.rollingUpdate", {"maxSurge": "0%", "maxUnavailable": 0}),
            "synthesis.strategy.rollingUpdate: got 0 for both maxSurge and maxUnavailable",
        ),
        (
            tree("monitoring", {"monitors": "PodMonitor", "interval": "5s", "scrapeTimeout": "5001ms"}),
            "monitoring.scrapeTimeout: got 5001ms, expected at most monitoring.interval, which is 5s",
        ),
        (
            tree("edge.buffer", {"minCapacityMs": 2000, "maxCapacityMs": 1000}),
            "edge.buffer.minCapacityMs: got 2000, expected at most maxCapacityMs, which is 1000",
        ),
        (
            tree("edge", {"drainSeconds": 60, "terminationGracePeriodSeconds": 74}),
            "edge.terminationGracePeriodSeconds: got 74, expected at least 75, which is edge.drainSeconds (60) and 15",
        ),
        (tree("edge.jwt", ON), "edge.jwt.key: got nothing with jwt.enabled"),
        (
            tree("edge", {"existingSecret": "edges", "jwt": {"enabled": True, "key": "sixteen characters"}}),
            "edge.jwt.key: got a key and edge.existingSecret, expected one of them",
        ),
        (tree("nats.url", "nats://bus:4222"), "nats.auth: an external NATS (nats.url) does not know passwords"),
        (
            merge(EXTERNAL, tree("nats.tls.existingSecret", "")),
            "nats.tls.existingSecret: got nothing with an external NATS",
        ),
        (
            merge(EXTERNAL, tree("nats.url", "nats://user:secret@bus:4222")),
            "nats.url: got an address with credentials (not shown), expected",
        ),
        (merge(EXTERNAL, tree("nats.url", "bus:4222")), "nats.url: got bus:4222, expected"),
        (tree("nats.auth.credentialsSecret", "creds"), "nats.auth.credentialsSecret: is for an external NATS"),
        (
            tree("nats.resources.limits.memory", "1Gi"),
            "nats.resources.limits.memory: got 1Gi (1024 MiB), expected 1536 MiB or more",
        ),
        (
            tree("telemetry.serviceAccount", {"create": False}),
            "telemetry.serviceAccount.name: got nothing with create false",
        ),
    ],
)
def test_contradicting_values_are_refused_with_a_sentence(values: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(values)


def test_all_contradictions_are_told_together() -> None:
    said = refusal(merge(tree("synthesis.gpu.sharing", "mig"), tree("edge.jwt", ON)))
    assert said.count("\n  - ") == 2
    assert "secret@" not in refusal(merge(EXTERNAL, tree("nats.url", "nats://user:secret@bus:4222")))


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path


def test_the_schema_and_the_values_name_the_same_things() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def resolve(part: dict[str, Any]) -> dict[str, Any]:
        reference = part.get("$ref")
        found: dict[str, Any] = schema["definitions"][reference.rpartition("/")[2]] if reference else part
        return found

    def compare(part: dict[str, Any], value: Any, path: str) -> Iterator[str]:
        part = resolve(part)
        names = set(part.get("properties", {})) - {"global", "common"}
        if part.get("type") != "object" or "properties" not in part or not isinstance(value, dict):
            return
        assert part["additionalProperties"] is False, f"{path} takes anything"
        optional = {"requests", "limits", "claims", "scaleUp", "scaleDown", "maxSurge", "maxUnavailable"}
        yield from (f"{path}.{name} is in the schema alone" for name in names - set(value) - optional)
        yield from (f"{path}.{name} is in the values alone" for name in set(value) - names)
        if path.startswith(tuple(f".{name}" for name in COMPONENTS)):
            yield from (f"{path}.{name} may be null" for name in set(value) - optional - set(part.get("required", ())))
        for name in names & set(value):
            yield from compare(part["properties"][name], value[name], f"{path}.{name}")

    assert list(compare(schema, values, "")) == []


@pytest.mark.parametrize("profile", PROFILES[1:])
def test_a_profile_sets_values_that_exist_and_differ(profile: str) -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    chosen = yaml.safe_load((CHART / "profiles" / f"{profile}.yaml").read_text())
    known = set(leaves(values))
    for path in leaves(chosen):
        assert any(path[: len(each)] == each for each in known), f"{'.'.join(path)} is no value"
    assert render(profile=profile).objects != render().objects


def test_the_readme_agrees_with_the_values() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "chart-readme"))
    text = (CHART / "values.yaml").read_text()
    assert script["undocumented"](text) == []
    assert script["readme"]() == (CHART / "README.md").read_text(), "run scripts/chart-readme"


def test_a_value_without_a_description_is_found() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "chart-readme"))
    text = "# -- Known.\nknown: 1\nsecret: 2\ntable:\n  # -- Inner.\n  inner: 3\n  bare: {}\n"
    assert script["undocumented"](text) == ["secret", "table.bare"]
    assert [row.path for row in script["rows"](text)] == [("known",), ("table", "inner")]


def test_profiles_in_the_readme_exist() -> None:
    text = (CHART / "README.md").read_text()
    for profile in PROFILES[1:]:
        assert f"charts/auralis/profiles/{profile}.yaml" in text
