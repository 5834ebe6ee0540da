"""Rendered objects: schemas, names, selectors, references, placement, images."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.support import (
    CHART,
    COMPONENTS,
    EVERYTHING,
    KUBE_VERSIONS,
    PROFILES,
    ROOT,
    VARIANTS,
    Rendered,
    matches,
    problems,
    render,
    run,
    tool,
)

CASES = [*((variant, "") for variant in VARIANTS), *((v, p) for p in PROFILES[1:] for v in ("as it is", "everything"))]


def sources(values: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """(template, object) of each object."""
    done = run(
        tool("helm"), "template", "auralis", str(CHART), "--kube-version", KUBE_VERSIONS[-1], "-f", "-",
        input=json.dumps(values),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    parts = re.split(r"(?m)^---\n# Source: (.+)\n", done.stdout)[1:]
    return [(name, each) for name, text in zip(parts[::2], parts[1::2], strict=True) if (each := yaml.safe_load(text))]


@pytest.mark.parametrize("kube", KUBE_VERSIONS)
@pytest.mark.parametrize(("variant", "profile"), CASES)
def test_every_object_matches_its_schema(variant: str, profile: str, kube: str) -> None:
    # No template depends on the version of Kubernetes.
    for each in render(VARIANTS[variant], profile=profile).objects:
        assert problems(each, kube) == [], f"{each['kind']} {each['metadata']['name']}"


def test_the_schemas_find_a_misspelt_field_and_a_wrong_type() -> None:
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "x"},
        "spec": {"replica": 1, "selector": {}, "template": {"spec": {"containers": [{"name": 1}]}}},
    }
    found = " ".join(problems(deployment, "1.30"))
    assert "replica" in found
    assert "1 is not of type 'string'" in found
    scaled = render(EVERYTHING).one("ScaledObject", "auralis-edge")
    wrong = {**scaled["spec"], "minReplicas": 1, "fallback": {"failureThreshold": 3, "replicas": "two"}}
    found = " ".join(problems({**scaled, "spec": wrong}, "1.30"))
    assert "'minReplicas' was unexpected" in found
    assert "'two' is not of type 'integer'" in found


@pytest.mark.parametrize("profile", PROFILES)
def test_helm_lint_finds_nothing(profile: str) -> None:
    files = ["-f", str(CHART / "profiles" / f"{profile}.yaml")] if profile else []
    done = run(tool("helm"), "lint", "--strict", "--kube-version", KUBE_VERSIONS[-1], str(CHART), *files)
    assert done.returncode == 0, done.stdout + done.stderr


CLUSTER_WIDE = ("PriorityClass", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_two_objects_have_one_name_and_all_are_labelled(variant: str) -> None:
    rendered = render(VARIANTS[variant])
    names = Counter((each["kind"], each["metadata"]["name"]) for each in rendered.objects)
    assert [name for name, count in names.items() if count > 1] == []
    for each in rendered.objects:
        metadata = each["metadata"]
        assert metadata["labels"]["app.kubernetes.io/instance"] == "auralis"
        assert metadata["labels"]["app.kubernetes.io/part-of"] == "auralis"
        if each["kind"] not in CLUSTER_WIDE:
            assert metadata["namespace"] == "music"


def test_two_releases_in_a_cluster_share_no_name() -> None:
    def names(rendered: Rendered) -> set[tuple[str, str, str]]:
        return {(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]) for o in rendered.objects}

    first = render(EVERYTHING)
    assert not names(first) & names(render(EVERYTHING, release="second"))
    assert not names(first) & names(render(EVERYTHING, namespace="elsewhere"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_selectors_find_the_pods_of_their_component_and_no_others(variant: str) -> None:
    rendered = render(VARIANTS[variant])
    pods = {metadata["labels"]["app.kubernetes.io/component"]: metadata["labels"] for _, metadata, _ in rendered.pods()}

    def found(selector: dict[str, Any]) -> list[str]:
        return [component for component, labels in pods.items() if matches(selector, labels)]

    for each in rendered.objects:
        component = each["metadata"]["labels"]["app.kubernetes.io/component"]
        spec = each.get("spec", {})
        match each["kind"]:
            case "Deployment" | "StatefulSet" | "PodDisruptionBudget":
                assert found(spec["selector"]) == [component]
            case "Service":
                assert found({"matchLabels": spec["selector"]}) == [component]
            case "PodMonitor":
                assert found(spec["selector"]) == [component]
            case "ServiceMonitor":
                services = [s for s in rendered.all("Service") if matches(spec["selector"], s["metadata"]["labels"])]
                assert [s["metadata"]["name"] for s in services] == [f"auralis-{component}-internal"]
            case "NetworkPolicy" if component == "default-deny":
                assert sorted(found(spec["podSelector"])) == sorted(pods)
            case "NetworkPolicy":
                assert found(spec["podSelector"]) == [component]


def test_references_to_other_objects_resolve() -> None:
    rendered = render(EVERYTHING)
    ingress = rendered.one("Ingress", "auralis-edge")
    backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    service = rendered.one("Service", backend["name"])
    assert backend["port"]["name"] in [port["name"] for port in service["spec"]["ports"]]

    route = rendered.one("HTTPRoute", "auralis-edge")["spec"]["rules"][0]["backendRefs"][0]
    assert route["port"] in [port["port"] for port in rendered.one("Service", route["name"])["spec"]["ports"]]

    for scaled in rendered.all("ScaledObject"):
        assert rendered.has("Deployment", scaled["spec"]["scaleTargetRef"]["name"])
    hpas = render(VARIANTS["hpa"]).all("HorizontalPodAutoscaler")
    assert len(hpas) == 2
    for hpa in hpas:
        assert render(VARIANTS["hpa"]).has("Deployment", hpa["spec"]["scaleTargetRef"]["name"])
    for _, _, spec in rendered.pods():
        if "priorityClassName" in spec:
            assert rendered.has("PriorityClass", spec["priorityClassName"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_named_ports_are_ports_of_containers(variant: str) -> None:
    rendered = render(VARIANTS[variant])
    ports = {
        metadata["labels"]["app.kubernetes.io/component"]: {
            port["name"]: port["containerPort"] for c in spec["containers"] for port in c.get("ports", [])
        }
        for _, metadata, spec in rendered.pods()
    }
    for each in rendered.all("Service"):
        component = each["metadata"]["labels"]["app.kubernetes.io/component"]
        assert all(port["targetPort"] in ports[component] for port in each["spec"]["ports"])
    for each in rendered.all("PodMonitor"):
        component = each["metadata"]["labels"]["app.kubernetes.io/component"]
        assert all(endpoint["port"] in ports[component] for endpoint in each["spec"]["podMetricsEndpoints"])
    for each in rendered.all("NetworkPolicy"):
        component = each["metadata"]["labels"]["app.kubernetes.io/component"]
        for rule in each["spec"].get("ingress", []):
            assert all(port["port"] in ports[component] for port in rule["ports"])


def test_time_outs_for_listeners_suit_a_stream() -> None:
    expected = {
        "nginx": ("nginx.ingress.kubernetes.io/proxy-read-timeout", "3600"),
        "haproxy": ("haproxy.org/timeout-tunnel", "3600s"),
        "alb": ("alb.ingress.kubernetes.io/load-balancer-attributes", "idle_timeout.timeout_seconds=3600"),
    }
    for controller, (name, value) in expected.items():
        ingress = {"enabled": True, "controller": controller, "annotations": {"mine": "kept"}}
        rendered = render({"edge": {"ingress": ingress}})
        annotations = rendered.one("Ingress", "auralis-edge")["metadata"]["annotations"]
        assert annotations[name] == value
        assert annotations["mine"] == "kept"
    own = {"nginx.ingress.kubernetes.io/proxy-read-timeout": "60"}
    rendered = render({"edge": {"ingress": {"enabled": True, "annotations": own}}})
    assert rendered.one("Ingress", "auralis-edge")["metadata"]["annotations"].items() >= own.items()
    route = render({"edge": {"httpRoute": {"enabled": True}}}).one("HTTPRoute", "auralis-edge")
    assert route["spec"]["rules"][0]["timeouts"] == {"request": "0s", "backendRequest": "0s"}


@pytest.mark.parametrize("component", COMPONENTS)
def test_a_component_takes_its_placement_and_account_from_values(component: str) -> None:
    wish = {
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "music", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "podLabels": {"colour": "blue"},
        "podAnnotations": {"note": "mine"},
        "serviceAccount": {"create": False, "name": "theirs"},
    }
    rendered = render({component: wish})
    metadata, spec = rendered.pod(component)
    assert spec["nodeSelector"] == {"disk": "fast"}
    assert {"key": "music", "operator": "Exists"} in spec["tolerations"]
    assert spec["affinity"] == {"nodeAffinity": {}}
    assert spec["priorityClassName"] == "high"
    assert metadata["labels"]["colour"] == "blue"
    assert metadata["annotations"]["note"] == "mine"
    assert spec["serviceAccountName"] == "theirs"
    assert not rendered.has("ServiceAccount", f"auralis-{component}")


@pytest.mark.parametrize("component", ["synthesis", "edge", "telemetry"])
def test_a_service_takes_additional_variables_and_volumes(component: str) -> None:
    rendered = render(
        {
            component: {
                "extraEnv": [{"name": "MINE", "value": "1"}],
                "extraEnvFrom": [{"secretRef": {"name": "more"}}],
                "extraVolumes": [{"name": "more", "emptyDir": {}}],
                "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
            }
        }
    )
    _, spec = rendered.pod(component)
    container = spec["containers"][0]
    assert {"name": "MINE", "value": "1"} in container["env"]
    assert container["envFrom"] == [{"secretRef": {"name": "more"}}]
    assert {"name": "more", "emptyDir": {}} in spec["volumes"]
    assert {"name": "more", "mountPath": "/more"} in container["volumeMounts"]


def test_the_test_pod_may_run_where_edges_may() -> None:
    wish = {"nodeSelector": {"disk": "fast"}, "tolerations": [{"key": "music", "operator": "Exists"}]}
    _, spec = render({"edge": wish}).pod("test")
    assert spec["nodeSelector"] == wish["nodeSelector"]
    assert spec["tolerations"] == wish["tolerations"]


def test_images_have_the_registry_and_tag_of_the_values() -> None:
    def image(values: dict[str, Any], component: str = "edge") -> str:
        text: str = render(values).pod(component)[1]["containers"][0]["image"]
        return text

    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert image({}) == f"auralis-edge:{version}"
    assert image({"image": {"registry": "registry.example:5000/music/", "tag": "2"}}) == (
        "registry.example:5000/music/auralis-edge:2"
    )
    assert image({"image": {"tag": "2"}, "edge": {"image": {"tag": "3"}}}) == "auralis-edge:3"
    digest = "sha256:" + "0" * 64
    assert image({"edge": {"image": {"digest": digest}}}) == f"auralis-edge@{digest}"
    assert image({"image": {"registry": "registry.example", "tag": "2"}}, "nats").startswith("nats:")


def test_the_chart_and_the_package_have_one_version() -> None:
    import tomllib  # noqa: PLC0415 - only here

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert about["appVersion"] == project["version"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_template_makes_one_kind_of_object_in_the_folder_of_its_component(variant: str) -> None:
    kinds: dict[str, set[str]] = {}
    for source, each in sources(VARIANTS[variant]):
        kinds.setdefault(source, set()).add(each["kind"])
        folder = source.removeprefix("auralis/templates/").rpartition("/")[0]
        component = each["metadata"]["labels"]["app.kubernetes.io/component"]
        if component in COMPONENTS:
            assert folder in (component, "monitoring"), source
    assert {source: found for source, found in kinds.items() if len(found) > 1} == {}


def test_each_dashboard_becomes_a_config_map_for_grafana(tmp_path: Path) -> None:
    chart = tmp_path / "auralis"
    shutil.copytree(CHART, chart)
    dashboards = chart / "files" / "dashboards"
    dashboards.mkdir(exist_ok=True)
    for old in dashboards.glob("*.json"):
        old.unlink()
    # Grafana's templates look like those of Helm.
    text = '{"title": "Fleet", "legend": "{{instance}}"}'
    (dashboards / "fleet.json").write_text(text)
    flags = "--set", "monitoring.dashboards.enabled=true", "--set", "monitoring.dashboards.annotations.folder=Auralis"
    done = run(tool("helm"), "template", "auralis", str(chart), "--kube-version", KUBE_VERSIONS[-1], *flags)
    assert done.returncode == 0, done.stderr
    objects = [each for each in yaml.safe_load_all(done.stdout) if each]
    (found,) = (each for each in objects if each["metadata"]["name"] == "auralis-dashboard-fleet")
    assert found["data"] == {"fleet.json": text}
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"] == {"folder": "Auralis"}
