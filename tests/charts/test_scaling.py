"""Autoscalers: one at a time, and the metrics that they scale on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.support import (
    HPA,
    KEDA,
    PROFILES,
    ROOT,
    Rendered,
    environment,
    main_container,
    merge,
    render,
    run,
    tool,
    tree,
)

SCALED = ("synthesis", "edge")


def scalers(rendered: Rendered, component: str) -> list[str]:
    name = f"auralis-{component}"
    return [kind for kind in ("HorizontalPodAutoscaler", "ScaledObject") if rendered.has(kind, name)]


@pytest.mark.parametrize("component", SCALED)
@pytest.mark.parametrize(
    ("kind", "expected"), [("none", []), ("hpa", ["HorizontalPodAutoscaler"]), ("keda", ["ScaledObject"])]
)
def test_at_most_one_autoscaler_scales_a_component(component: str, kind: str, expected: list[str]) -> None:
    rendered = render(tree(f"{component}.autoscaling.type", kind))
    assert scalers(rendered, component) == expected
    replicas = rendered.one("Deployment", f"auralis-{component}")["spec"].get("replicas")
    # An upgrade would reset the number that the autoscaler chose.
    assert (replicas is None) == bool(expected)


@pytest.mark.parametrize("profile", PROFILES)
def test_no_profile_has_two_autoscalers_for_a_component(profile: str) -> None:
    rendered = render(profile=profile)
    assert all(len(scalers(rendered, component)) <= 1 for component in SCALED)


def test_replicas_may_be_zero() -> None:
    for number in (0, 1, 7):
        assert render(tree("edge.replicas", number)).one("Deployment", "auralis-edge")["spec"]["replicas"] == number


def behavior(rendered: Rendered, component: str) -> dict[str, Any]:
    if rendered.has("HorizontalPodAutoscaler", f"auralis-{component}"):
        found: dict[str, Any] = rendered.one("HorizontalPodAutoscaler", f"auralis-{component}")["spec"]["behavior"]
    else:
        scaled = rendered.one("ScaledObject", f"auralis-{component}")["spec"]
        found = scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    return found


@pytest.mark.parametrize("component", SCALED)
@pytest.mark.parametrize("layers", [HPA, KEDA], ids=["hpa", "keda"])
def test_scaling_is_up_immediately_and_down_one_pod_in_two_minutes(
    layers: list[dict[str, Any]], component: str
) -> None:
    found = behavior(render(merge(*layers)), component)
    assert found["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert {"type": "Percent", "value": 100, "periodSeconds": 15} in found["scaleUp"]["policies"]
    assert found["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": 120}]
    own = {"scaleDown": {"stabilizationWindowSeconds": 5}}
    assert behavior(render(merge(*layers, tree(f"{component}.autoscaling.behavior", own))), component) == own


@pytest.mark.parametrize("metric", ["auralis_listeners", "active_websocket_connections"])
def test_edges_scale_on_the_listeners_of_each_pod(metric: str) -> None:
    rendered = render(merge(*HPA, tree("edge.autoscaling.metric", metric), tree("edge.maxConnections", 1000)))
    spec = rendered.one("HorizontalPodAutoscaler", "auralis-edge")["spec"]
    assert spec["metrics"] == [
        {
            "type": "Pods",
            "pods": {"metric": {"name": metric}, "target": {"type": "AverageValue", "averageValue": "700"}},
        }
    ]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 20)


def test_a_failed_measurement_of_keda_is_not_zero() -> None:
    rendered = render(merge(*KEDA))
    for component in SCALED:
        spec = rendered.one("ScaledObject", f"auralis-{component}")["spec"]
        assert [trigger["metadata"]["ignoreNullValues"] for trigger in spec["triggers"]] == ["false"]
        assert spec["fallback"]["failureThreshold"] == 3
        assert spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]


def test_keda_may_measure_by_telemetry() -> None:
    source = [tree(f"{component}.autoscaling.keda.source", "telemetry") for component in SCALED]
    rendered = render(merge(*KEDA, *source))
    (edge,) = rendered.one("ScaledObject", "auralis-edge")["spec"]["triggers"]
    assert edge == {
        "type": "metrics-api",
        "metadata": {
            "url": "http://auralis-telemetry.music.svc.cluster.local:9090/api/autoscale",
            "valueLocation": "edge.listeners",
            "targetValue": "3500",
        },
    }
    (synthesis,) = rendered.one("ScaledObject", "auralis-synthesis")["spec"]["triggers"]
    assert synthesis["metadata"]["valueLocation"] == "synthesis.load_workers"
    assert synthesis["metadata"]["targetValue"] == "0.6"


def test_scaling_to_zero_workers_needs_allow_zero() -> None:
    asked = {"type": "keda", "minReplicas": 0, "allowZero": True}
    rendered = render(tree("synthesis.autoscaling", asked))
    assert rendered.one("ScaledObject", "auralis-synthesis")["spec"]["minReplicaCount"] == 0


def test_edges_wait_for_workers_unless_workers_scale_from_zero() -> None:
    name = "AURALIS_WAIT_FOR_RENDERERS_SECONDS"
    from_zero = tree("synthesis.autoscaling", {"type": "keda", "minReplicas": 0, "allowZero": True})
    for values, expected in (({}, "120"), (merge(*KEDA), "120"), (from_zero, "0")):
        rendered = render(values)
        assert environment(main_container(rendered.pod("edge")[1]), rendered)[name] == expected


def load_query() -> str:
    (trigger,) = render(merge(*KEDA)).one("ScaledObject", "auralis-synthesis")["spec"]["triggers"]
    query: str = trigger["metadata"]["query"]
    return query


def adapter_query() -> str:
    """The query of the adapter for the external metric of k8s/prometheus-adapter.yaml."""
    values = yaml.safe_load((ROOT / "k8s" / "prometheus-adapter.yaml").read_text())
    (rule,) = values["rules"]["external"]
    query: str = rule["metricsQuery"]
    for name, text in (("LabelMatchers", 'namespace="music"'), ("GroupBy", "namespace")):
        query = query.replace(f"<<.{name}>>", text)
    return f"sum({query})"  # the adapter drops the label


def test_load_is_rendered_or_demanded_streams_over_capacity(tmp_path: Path) -> None:
    """Two edges ask for 90 and 60 streams, some of them shared: two workers of 100 streams each render 120."""
    edge = 'namespace="music",pod="auralis-edge-{}"'
    worker = 'namespace="music",pod="auralis-synthesis-{}"'
    running = [
        {"series": f"auralis_render_demand_streams{{{edge.format('a')}}}", "values": "90x40"},
        {"series": f"auralis_render_demand_streams{{{edge.format('b')}}}", "values": "60x40"},
        {"series": f'auralis_render_blocks_total{{lane="ahead",{worker.format("a")}}}', "values": "0+900x40"},
        {"series": f'auralis_render_blocks_total{{lane="ahead",{worker.format("b")}}}', "values": "0+900x40"},
        {"series": f"auralis_render_capacity_streams{{{worker.format('a')}}}", "values": "100x40"},
        {"series": f"auralis_render_capacity_streams{{{worker.format('b')}}}", "values": "100x40"},
    ]
    # A warming worker has not measured itself and must not lower the average.
    warming = [*running, {"series": f"auralis_render_capacity_streams{{{worker.format('c')}}}", "values": "0x40"}]
    no_worker = [running[0]]
    other = [{"series": each["series"].replace("music", "elsewhere"), "values": each["values"]} for each in running]

    def case(name: str, series: list[dict[str, str]], query: str, value: float | None) -> dict[str, Any]:
        samples = [] if value is None else [{"labels": "{}", "value": value}]
        return {
            "name": name,
            "interval": "15s",
            "input_series": series,
            "promql_expr_test": [{"expr": query, "eval_time": "5m", "exp_samples": samples}],
        }

    cases = [
        case("running", running, load_query(), 1.2),
        case("warming", warming, load_query(), 1.2),
        case("no worker yet", no_worker, load_query(), 0.9),
        case("another release", other, load_query(), None),
        case("running, by the adapter", running, adapter_query(), 1.2),
        case("warming, by the adapter", warming, adapter_query(), 1.2),
        case("another release, by the adapter", other, adapter_query(), None),
    ]
    # JSON, which is YAML: the queries hold both kinds of quotation marks.
    file = tmp_path / "load.yaml"
    file.write_text(json.dumps({"rule_files": [], "tests": cases}))
    done = run(tool("promtool"), "test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_listeners_query_counts_this_release_only(tmp_path: Path) -> None:
    (trigger,) = render(merge(*KEDA)).one("ScaledObject", "auralis-edge")["spec"]["triggers"]
    series = [
        {"series": f'auralis_listeners{{namespace="{space}",pod="{pod}"}}', "values": f"{number}x10"}
        for space, pod, number in (
            ("music", "auralis-edge-a", 10), ("music", "auralis-edge-b", 5),
            ("music", "other-edge-a", 100), ("elsewhere", "auralis-edge-a", 1000),
        )
    ]  # fmt: skip
    test = {"expr": trigger["metadata"]["query"], "eval_time": "1m", "exp_samples": [{"labels": "{}", "value": 15}]}
    file = tmp_path / "listeners.yaml"
    case = {"interval": "15s", "input_series": series, "promql_expr_test": [test]}
    file.write_text(json.dumps({"rule_files": [], "tests": [case]}))
    done = run(tool("promtool"), "test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_adapter_serves_the_metrics_that_the_autoscalers_name() -> None:
    values = yaml.safe_load((ROOT / "k8s" / "prometheus-adapter.yaml").read_text())
    rendered = render(merge(*HPA))
    (metric,) = rendered.one("HorizontalPodAutoscaler", "auralis-synthesis")["spec"]["metrics"]
    served = [rule["name"]["as"] for rule in values["rules"]["external"]]
    assert metric["external"]["metric"]["name"] in served
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": "600m"}
    (custom,) = values["rules"]["custom"]
    for name in ("auralis_listeners", "active_websocket_connections"):
        assert name in custom["seriesQuery"]


def test_releases_of_a_namespace_scale_apart_where_series_carry_their_release() -> None:
    for monitors, expected in (
        ("none", {"namespace": "auralis"}),
        ("PodMonitor", {"namespace": "auralis", "release": "b"}),
    ):
        rendered = render(merge(*HPA, tree("monitoring.monitors", monitors)), release="b", namespace="auralis")
        (found,) = [each for each in rendered.all("HorizontalPodAutoscaler") if "synthesis" in each["metadata"]["name"]]
        (metric,) = found["spec"]["metrics"]
        assert metric["external"]["metric"]["selector"]["matchLabels"] == expected
        for monitor in rendered.all("PodMonitor"):
            (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
            (relabeling,) = [each for each in endpoint["relabelings"] if each["targetLabel"] == "release"]
            (source,) = relabeling["sourceLabels"]
            assert source == "__meta_kubernetes_pod_label_app_kubernetes_io_instance"
