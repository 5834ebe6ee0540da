"""Pods: the restricted standard, settings, probes, time to drain, placement."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from services.runtime.http.hosts import AllowedHosts
from services.runtime.http.internal import DRAIN_HEADER
from services.runtime.settings import Settings, load_settings
from tests.charts.support import (
    EVERYTHING,
    EXTERNAL,
    ON,
    PROFILES,
    VARIANTS,
    Object,
    Rendered,
    environment,
    main_container,
    matches,
    merge,
    render,
    tree,
)

GPU_NODE = {"nvidia.com/gpu.present": "true"}
CASES = [*((variant, "") for variant in VARIANTS), *(("everything", profile) for profile in PROFILES[1:])]


def restricted_violations(spec: Object) -> list[str]:
    """Violations of the restricted pod security standard."""
    found = []
    pod = spec.get("securityContext", {})
    if any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        found.append("host namespaces")
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    found += [f"volume {v['name']}" for v in spec.get("volumes", []) if not set(v) - {"name"} <= allowed]
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        own = container.get("securityContext", {})
        if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
            found.append("runAsNonRoot")
        if own.get("runAsUser", pod.get("runAsUser")) == 0:
            found.append("runAsUser 0")
        if own.get("seccompProfile", pod.get("seccompProfile", {})).get("type") not in ("RuntimeDefault", "Localhost"):
            found.append("seccompProfile")
        if own.get("allowPrivilegeEscalation") is not False:
            found.append("allowPrivilegeEscalation")
        if own.get("privileged"):
            found.append("privileged")
        if "ALL" not in own.get("capabilities", {}).get("drop", []):
            found.append("capabilities.drop")
        if set(own.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"}:
            found.append("capabilities.add")
        if any(port.get("hostPort") for port in container.get("ports", [])):
            found.append("hostPort")
    return found


@pytest.mark.parametrize(("variant", "profile"), CASES)
def test_every_pod_is_restricted_and_cannot_write_to_its_image(variant: str, profile: str) -> None:
    for name, _, spec in render(VARIANTS[variant], profile=profile).pods():
        assert restricted_violations(spec) == [], name
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, name


def test_a_pod_that_is_not_restricted_is_found() -> None:
    _, spec = render().pod("edge")
    container = main_container(spec)
    weaker: list[dict[str, Any]] = [
        {**spec, "securityContext": {}},
        {**spec, "hostNetwork": True},
        {**spec, "volumes": [{"name": "x", "hostPath": {"path": "/"}}]},
        {**spec, "containers": [{**container, "securityContext": {"allowPrivilegeEscalation": False}}]},
        {**spec, "containers": [{**container, "securityContext": {"capabilities": {"drop": ["ALL"]}}}]},
    ]
    assert all(restricted_violations(each) for each in weaker)


@pytest.mark.parametrize(("variant", "profile"), CASES)
def test_pods_have_requests_and_no_cpu_limit(variant: str, profile: str) -> None:
    for name, _, spec in render(VARIANTS[variant], profile=profile).pods():
        for container in spec["containers"]:
            resources = container["resources"]
            assert resources["requests"].keys() >= {"cpu", "memory"}, name
            assert "memory" in resources["limits"], name
            assert "cpu" not in resources["limits"], f"{name}: a CPU limit makes audio late"
            assert not container["image"].endswith(":latest"), name


def test_only_telemetry_has_a_token_and_it_may_only_patch_pods() -> None:
    rendered = render()
    with_token = [name for name, _, spec in rendered.pods() if spec["automountServiceAccountToken"]]
    assert with_token == ["auralis-telemetry"]
    assert all(each["automountServiceAccountToken"] is False for each in rendered.all("ServiceAccount"))
    assert [role["rules"] for role in rendered.all("Role")] == [
        [{"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}]
    ]
    binding = rendered.one("RoleBinding", "auralis-telemetry")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "auralis-telemetry", "namespace": "music"}]

    without = render(VARIANTS["nothing extra"])
    assert not any(spec["automountServiceAccountToken"] for _, _, spec in without.pods())
    assert without.all("Role") == without.all("RoleBinding") == []


@pytest.mark.parametrize(("variant", "profile"), CASES)
def test_mounts_have_volumes_and_volumes_have_sources(variant: str, profile: str) -> None:
    rendered = render(VARIANTS[variant], profile=profile)
    outside = {"edges", "bus", "credentials", "authority"}
    secrets = rendered.secrets()
    for name, _, spec in rendered.pods():
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        for container in spec["containers"]:
            mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
            assert mounted == set(volumes), name
        for volume in volumes.values():
            if "secret" in volume and volume["secret"]["secretName"] not in outside:
                keys = secrets[volume["secret"]["secretName"]]
                assert {item["key"] for item in volume["secret"].get("items", [])} <= keys
            if "configMap" in volume:
                assert rendered.has("ConfigMap", volume["configMap"]["name"])
        environment(main_container(spec), rendered)  # fails for a key that a Secret of the chart lacks


def settings_of(rendered: Rendered, component: str) -> Settings:
    """The settings that a service reads in its pod; stand-ins replace the files that the kubelet mounts."""
    values = environment(main_container(rendered.pod(component)[1]), rendered)
    for name in ("NATS_TLS_CA_FILE", "NATS_CREDENTIALS_FILE"):
        if name in values:
            assert any(
                values[name].startswith(mount["mountPath"] + "/")
                for mount in main_container(rendered.pod(component)[1])["volumeMounts"]
            ), f"{name} is not mounted"
            values[name] = __file__
    return load_settings(values, dotenv=None)


@pytest.mark.parametrize(("variant", "profile"), CASES)
def test_services_accept_the_settings_of_their_pods_without_a_warning(variant: str, profile: str) -> None:
    rendered = render(VARIANTS[variant], profile=profile)
    for component in ("synthesis", "edge", "telemetry"):
        if not rendered.has("Deployment", f"auralis-{component}"):
            continue
        settings = settings_of(rendered, component)
        assert settings.warnings == ()
        assert settings.env == "production"
        assert settings.host == "0.0.0.0"  # noqa: S104 - a pod is reached from outside itself
        assert settings.log_format == "json"


def test_values_arrive_as_settings() -> None:
    rendered = render(
        {
            "settings": {"env": "stage", "logLevel": "DEBUG", "internalPort": 9999},
            "edge": {
                "maxConnections": 1234567 // 2,
                "maxStreams": 7,
                "maxPerIp": 8,
                "maxPending": 100,
                "maxPendingPerIp": 10,
                "rateLimitChunksPerSecond": 99,
                "allowedOrigins": ["https://a.example", "https://b.example"],
                "trustedProxies": ["10.0.0.0/8"],
                "buffer": {"initialTier": "stable", "minCapacityMs": 300, "maxCapacityMs": 2000},
                "drainSeconds": 12,
                "waitForRenderersSeconds": 34,
                "jwt": {"enabled": True, "key": "a key of sixteen or more", "audience": "us"},
            },
            "synthesis": {"device": "cpu", "batchSize": 16, "enableCompile": False},
            "telemetry": {"prometheusUrl": "https://prometheus.example:9443/base"},
        }
    )
    assert settings_of(rendered, "telemetry").prometheus_url == "https://prometheus.example:9443/base"
    edge = settings_of(rendered, "edge")
    assert (edge.env, edge.log_level, edge.metrics_port, edge.port) == ("stage", "DEBUG", 9999, 8000)
    assert edge.edge.max_connections == 617283
    assert (edge.edge.max_streams, edge.edge.max_per_ip, edge.edge.rate_limit_chunks_per_s) == (7, 8, 99)
    assert (edge.max_pending, edge.max_pending_per_ip) == (100, 10)
    assert edge.edge.allowed_origins == ("https://a.example", "https://b.example")
    assert edge.edge.trusted_proxies == ("10.0.0.0/8",)
    assert (edge.buffer.initial_tier, edge.buffer.min_capacity_ms, edge.buffer.max_capacity_ms) == ("stable", 300, 2000)
    assert (edge.edge.drain_s, edge.edge.wait_for_renderers_s) == (12, 34)
    assert edge.edge.jwt_key == "stands-for-jwt-key"
    assert edge.edge.jwt_audience == "us"
    assert edge.edge.secret == "stands-for-resume-secret"  # noqa: S105 - a stand-in
    assert (edge.nats.user, edge.nats.password) == ("edge", "stands-for-edge")
    synthesis = settings_of(rendered, "synthesis").synthesis
    assert (synthesis.device, synthesis.batch_size, synthesis.enable_compile) == ("cpu", 16, False)


def test_internal_ports_answer_to_the_names_of_the_services_that_lead_to_them() -> None:
    values = merge(EVERYTHING, {"settings": {"internalHosts": ["dashboard.example"]}, "clusterDomain": "music.test"})
    rendered = render(values)
    services = [each for each in rendered.objects if each["kind"] == "Service"]
    leading = [each for each in services if any(port.get("targetPort") == "internal" for port in each["spec"]["ports"])]
    assert len(leading) >= 2
    for service in leading:
        component = service["spec"]["selector"]["app.kubernetes.io/component"]
        hosts = AllowedHosts(settings_of(rendered, component).internal_hosts)
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        for end in ("", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.music.test"):
            assert f"{name}{end}:9090" in hosts, component
        assert "dashboard.example" in hosts
        assert f"{name}.rebind.example" not in hosts


def test_addresses_of_telemetry_that_the_chart_writes_name_a_host_that_it_answers_to() -> None:
    rendered = render(EVERYTHING)
    urls = re.findall(r"http://[^/\s\"]*telemetry[^/\s\"]*", json.dumps(rendered.objects))
    assert urls
    hosts = AllowedHosts(settings_of(rendered, "telemetry").internal_hosts)
    assert all(url.removeprefix("http://") in hosts for url in urls)


@pytest.mark.parametrize("port", [9090, 9999])
def test_probes_ask_the_port_that_the_service_listens_on(port: int) -> None:
    rendered = render({"settings": {"internalPort": port}})
    for component in ("synthesis", "edge", "telemetry"):
        metadata, spec = rendered.pod(component)
        container = main_container(spec)
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        settings = settings_of(rendered, component)
        assert ports["internal"] == settings.metrics_port == port
        assert ports.get("http", settings.port) == settings.port
        assert container["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "internal"}
        assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "internal"}
        assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "internal"}
        assert metadata["annotations"]["prometheus.io/port"] == str(port)
    _, nats = rendered.pod("nats")
    assert {probe["httpGet"]["port"] for name, probe in main_container(nats).items() if name.endswith("Probe")} == {
        "monitor"
    }


def test_a_pod_has_startup_seconds_to_start() -> None:
    for seconds in (1, 90, 601):
        container = main_container(render({"synthesis": {"startupSeconds": seconds}}).pod("synthesis")[1])
        probe = container["startupProbe"]
        assert seconds <= probe["periodSeconds"] * probe["failureThreshold"] <= seconds + 2


@pytest.mark.parametrize("profile", PROFILES)
def test_a_pod_has_the_time_to_drain(profile: str) -> None:
    rendered = render(profile=profile)
    _, edge = rendered.pod("edge")
    drain_s = settings_of(rendered, "edge").edge.drain_s
    # /drain takes the drain window; the stop after SIGTERM takes at most twelve seconds.
    assert edge["terminationGracePeriodSeconds"] >= drain_s + 15
    for component in ("edge", "synthesis"):
        container = main_container(rendered.pod(component)[1])
        header = {"name": "Auralis-Drain", "value": "pre-stop"}
        hook = {"path": "/drain", "port": "internal", "httpHeaders": [header]}
        assert container["lifecycle"]["preStop"]["httpGet"] == hook
        assert header["name"].lower().encode() == DRAIN_HEADER


def test_the_time_to_drain_can_be_set() -> None:
    values = tree("edge", {"drainSeconds": 10, "terminationGracePeriodSeconds": 99})
    assert render(values).pod("edge")[1]["terminationGracePeriodSeconds"] == 99


@pytest.mark.parametrize(
    ("gpu", "resource"),
    [
        ({}, "nvidia.com/gpu"),
        ({"sharing": "time-slicing"}, "nvidia.com/gpu.shared"),
        ({"sharing": "mig", "migProfile": "1g.10gb"}, "nvidia.com/mig-1g.10gb"),
        ({"resource": "vendor.example/gpu"}, "vendor.example/gpu"),
    ],
)
def test_workers_request_the_gpu_of_the_values(gpu: dict[str, Any], resource: str) -> None:
    rendered = render({"synthesis": {"gpu": {**gpu, "runtimeClassName": "nvidia", "nodeSelector": {"gpu": "h100"}}}})
    _, spec = rendered.pod("synthesis")
    assert main_container(spec)["resources"]["limits"][resource] == 1
    assert spec["runtimeClassName"] == "nvidia"
    assert spec["nodeSelector"] == {"gpu": "h100"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in spec["tolerations"]
    assert settings_of(rendered, "synthesis").synthesis.device == "cuda"


def test_workers_on_cpus_request_no_gpu() -> None:
    rendered = render(profile="cpu-only")
    _, spec = rendered.pod("synthesis")
    assert set(main_container(spec)["resources"]["limits"]) == {"memory"}
    assert "runtimeClassName" not in spec
    assert "tolerations" not in spec
    assert settings_of(rendered, "synthesis").synthesis.device == "cpu"


def node_terms(spec: Object, how: str) -> list[Object]:
    affinity = spec.get("affinity", {}).get("nodeAffinity", {}).get(f"{how}DuringSchedulingIgnoredDuringExecution", {})
    if how == "required":
        return list(affinity.get("nodeSelectorTerms", [])) if affinity else []
    return [each["preference"] for each in affinity] if affinity else []


@pytest.mark.parametrize("avoid", ["preferred", "required"])
def test_pods_without_a_gpu_avoid_gpu_nodes(avoid: str) -> None:
    rendered = render(tree("gpuNodes.avoid", avoid))
    for component in ("edge", "telemetry", "nats"):
        _, spec = rendered.pod(component)
        (term,) = node_terms(spec, avoid)
        assert not matches(term, GPU_NODE), component
        assert matches(term, {}), component
        assert "tolerations" not in spec, f"{component} would run on nodes that are reserved for GPU work"
    _, worker = rendered.pod("synthesis")
    assert node_terms(worker, avoid) == []
    assert "nodeAffinity" not in render(tree("gpuNodes.avoid", "none")).pod("edge")[1].get("affinity", {})


def test_pods_of_a_component_are_spread_and_kept_apart() -> None:
    _, spec = render().pod("edge")
    assert {each["topologyKey"] for each in spec["topologySpreadConstraints"]} == {
        "topology.kubernetes.io/zone", "kubernetes.io/hostname",
    }  # fmt: skip
    assert "preferredDuringSchedulingIgnoredDuringExecution" in spec["affinity"]["podAntiAffinity"]
    values = {"edge": {"topologySpread": "DoNotSchedule", "antiAffinity": "hard"}}
    _, strict = render(values).pod("edge")
    assert {each["whenUnsatisfiable"] for each in strict["topologySpreadConstraints"]} == {"DoNotSchedule"}
    assert "requiredDuringSchedulingIgnoredDuringExecution" in strict["affinity"]["podAntiAffinity"]
    _, loose = render({"edge": {"topologySpread": "none", "antiAffinity": "none"}}).pod("edge")
    assert "topologySpreadConstraints" not in loose
    assert "podAntiAffinity" not in loose["affinity"]


def test_the_drain_of_nodes_takes_one_pod_of_a_component_at_a_time() -> None:
    budgets = {each["metadata"]["name"]: each["spec"] for each in render().all("PodDisruptionBudget")}
    assert set(budgets) == {"auralis-edge", "auralis-synthesis"}
    assert all(each["maxUnavailable"] == 1 for each in budgets.values())
    assert render(profile="minimal").all("PodDisruptionBudget") == []


def annotations(rendered: Rendered, component: str) -> dict[str, str]:
    return {
        name: value for name, value in rendered.pod(component)[0]["annotations"].items() if name.startswith("checksum/")
    }


def test_pods_restart_when_their_secrets_change() -> None:
    secrets = tree("nats.auth.existingSecret", "bus"), tree("edge.existingSecret", "edges")
    base = merge(*secrets)  # generated secrets differ in each rendering
    before = render(base)
    assert set(annotations(before, "nats")) == {"checksum/config", "checksum/auth"}
    assert set(annotations(before, "edge")) == {"checksum/nats-auth", "checksum/secret"}

    smaller = render(merge(base, tree("nats.jetstream.memoryStoreMiB", 512)))
    assert annotations(smaller, "nats")["checksum/config"] != annotations(before, "nats")["checksum/config"]
    assert annotations(smaller, "edge") == annotations(before, "edge")

    encrypted = render(merge(base, tree("nats.tls", ON)))
    assert "checksum/tls" in annotations(encrypted, "nats")
    for component in ("synthesis", "edge", "telemetry"):
        assert "checksum/nats-tls" in annotations(encrypted, component)

    elsewhere = render(merge(base, EXTERNAL))
    url = {each["name"]: each for each in main_container(elsewhere.pod("edge")[1])["env"]}["NATS_URL"]
    assert url["value"] == "tls://one.example:4222,tls://two.example:4443"


def test_a_rendering_generates_each_secret_once() -> None:
    import base64  # noqa: PLC0415 - only here
    import hashlib  # noqa: PLC0415 - as above

    rendered = render()
    data = rendered.one("Secret", "auralis-nats-passwords")["data"]
    passwords = {component: base64.b64decode(text).decode() for component, text in data.items()}
    assert set(passwords) == {"synthesis", "edge", "telemetry"}
    assert len(set(passwords.values())) == 3
    for password in passwords.values():
        assert len(password) == 32
        assert password.isalnum()
        assert password[0].isalpha(), "NATS would read it as a number"
    sums = {annotations(rendered, component)["checksum/nats-auth"] for component in ("synthesis", "edge", "telemetry")}
    assert sums == {annotations(rendered, "nats")["checksum/auth"]}, "an upgrade would restart what did not change"
    edge = rendered.one("Secret", "auralis-edge-resume")["data"]
    text = f"resume-secret: {edge['resume-secret']}"
    assert annotations(rendered, "edge")["checksum/secret"] == hashlib.sha256(text.encode()).hexdigest()


def test_helm_writes_no_generated_secret_at_an_upgrade_or_a_rollback() -> None:
    """A Secret in the manifest of a revision is written again by a rollback to it; a hook is not."""
    rendered = render(
        merge(tree("nats.tls", ON), tree("edge.jwt", {"enabled": True, "key": "a key of sixteen or more"}))
    )
    hooks = {
        each["metadata"]["name"]: each["metadata"].get("annotations", {}).get("helm.sh/hook")
        for each in rendered.all("Secret")
    }
    kept = ("auralis-edge-resume", "auralis-nats-passwords", "auralis-nats-certificate")
    assert hooks == {**dict.fromkeys(kept, "pre-install,pre-upgrade"), "auralis-edge": None}, "the values have jwt-key"


def test_the_right_to_patch_pods_ends_at_the_deletion_cost_unless_that_is_switched_off() -> None:
    policy = render().one("ValidatingAdmissionPolicy", "music-auralis-telemetry")["spec"]
    assert policy["failurePolicy"] == "Fail"
    (condition,) = policy["matchConditions"]
    assert condition["expression"] == 'request.userInfo.username == "system:serviceaccount:music:auralis-telemetry"'
    binding = render().one("ValidatingAdmissionPolicyBinding", "music-auralis-telemetry")["spec"]
    assert (binding["policyName"], binding["validationActions"]) == ("music-auralis-telemetry", ["Deny"])
    off = render(tree("telemetry.podDeletionCost.admissionPolicy", False))  # noqa: FBT003 - a value
    assert off.all("ValidatingAdmissionPolicy") == off.all("ValidatingAdmissionPolicyBinding") == []
    assert off.has("Role", "auralis-telemetry")


def test_certificates_are_for_the_names_that_clients_use() -> None:
    rendered = render(EVERYTHING)
    data = rendered.one("Secret", "auralis-nats-certificate")["data"]
    assert set(data) == {"ca.crt", "tls.crt", "tls.key"}
    values = environment(main_container(rendered.pod("edge")[1]), rendered)
    assert values["NATS_URL"] == "tls://auralis-nats.music.svc.cluster.local:4222"
    _, spec = rendered.pod("edge")
    volume = next(each for each in spec["volumes"] if each["name"] == "nats-tls")
    assert volume["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}], "the server's key stays with the server"


def test_service_variables_stay_out_of_the_environment() -> None:
    # Kubernetes would set AURALIS_EDGE_PORT.
    assert all(spec["enableServiceLinks"] is False for _, _, spec in render().pods())
