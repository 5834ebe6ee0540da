"""An upgrade keeps immutable fields, and the names that other objects and tools refer to."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.charts.canonical import text_of
from tests.charts.support import EVERYTHING, HPA, Rendered, merge, render

GOLDEN = Path(__file__).parent / "golden" / "lasting.json"


def lasting(rendered: Rendered) -> dict[str, Any]:
    """Kind and name of each object, with its fields that must not change."""
    found: dict[str, Any] = {}
    for each in rendered.objects:
        spec = each.get("spec", {})
        match each["kind"]:
            case "Deployment":
                fields = {"selector": spec["selector"]}
            case "StatefulSet":
                names = ("selector", "serviceName", "volumeClaimTemplates", "podManagementPolicy")
                fields = {name: spec[name] for name in names if name in spec}
            case "Service":
                fields = {"selector": spec["selector"], "ports": [port["name"] for port in spec["ports"]]}
                if "clusterIP" in spec:
                    fields["clusterIP"] = spec["clusterIP"]
            case "Secret":
                fields = {"type": each["type"], "keys": sorted(each["data"])}
            case "RoleBinding":
                fields = {"roleRef": each["roleRef"]}
            case "PriorityClass":
                fields = {"value": each["value"]}
            case "HorizontalPodAutoscaler" | "ScaledObject":
                fields = {"scaleTargetRef": spec["scaleTargetRef"]}
            case _:
                fields = {}
        found[f"{each['kind']} {each['metadata']['name']}"] = fields
    return dict(sorted(found.items()))


def test_an_upgrade_keeps_names_selectors_and_keys() -> None:
    now = {
        "as it is": lasting(render()),
        "everything": lasting(render(EVERYTHING)),
        "hpa": lasting(render(merge(*HPA))),
    }
    if os.environ.get("AURALIS_WRITE_GOLDEN"):
        GOLDEN.write_text(text_of(now))
    assert json.loads(GOLDEN.read_text()) == now, (
        "`helm upgrade` of a release would fail, or references to its objects would break; if it must be, raise the "
        "chart's major version and run this test once with AURALIS_WRITE_GOLDEN=1"
    )


def test_a_new_version_of_the_chart_restarts_no_pod_by_itself() -> None:
    """Labels and annotations of pods hold nothing that changes with every release."""
    for _, metadata, _ in render().pods():
        if metadata["labels"]["app.kubernetes.io/component"] != "test":
            assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(metadata["labels"])
