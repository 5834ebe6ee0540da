"""Network policies, evaluated as a CNI does: which peer reaches which port."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.loadtest.plan import LoadPlan, job
from tests.charts.support import EXTERNAL, OFF, VARIANTS, Rendered, matches, merge, render, tree


@dataclass(frozen=True)
class Peer:
    """A peer on the network: a pod with labels in a namespace, or an address outside."""

    labels: dict[str, str] = field(default_factory=dict)
    namespace: str = ""
    address: str = "203.0.113.9"
    ports: dict[str, int] = field(default_factory=dict)


OUTSIDE = Peer()
PROMETHEUS = Peer({"app": "prometheus"}, "monitoring")
DNS = Peer({"k8s-app": "kube-dns"}, "kube-system")
NODE_DNS = Peer(address="169.254.20.10")
STRANGER = Peer({"app": "other"}, "other")
API_SERVER = Peer(address="10.200.0.1")


def pod(rendered: Rendered, component: str) -> Peer:
    metadata, spec = rendered.pod(component)
    ports = {port["name"]: port["containerPort"] for c in spec["containers"] for port in c.get("ports", [])}
    return Peer(metadata["labels"], "music", "10.244.0.7", ports)


@dataclass(frozen=True)
class Connection:
    """From `source` to a port of `target`, by name or number."""

    source: Peer
    target: Peer
    port: int | str
    protocol: str

    @property
    def number(self) -> int:
        return self.target.ports[self.port] if isinstance(self.port, str) else self.port


def allowed(rendered: Rendered, source: Peer, target: Peer, port: int | str, protocol: str = "TCP") -> bool:
    """Whether policies allow a connection, at its source and at its target."""
    connection = Connection(source, target, port, protocol)
    return _let_through(rendered, connection, "Egress") and _let_through(rendered, connection, "Ingress")


def _let_through(rendered: Rendered, connection: Connection, direction: str) -> bool:
    own = connection.source if direction == "Egress" else connection.target
    policies = [
        each["spec"]
        for each in rendered.all("NetworkPolicy")
        if own.namespace == "music"
        and direction in each["spec"]["policyTypes"]
        and matches(each["spec"]["podSelector"], own.labels)
    ]
    if not policies:
        return True  # no policy selects it: everything is allowed
    return any(_rule(rule, connection, direction) for policy in policies for rule in policy.get(direction.lower(), []))


def _rule(rule: dict[str, Any], connection: Connection, direction: str) -> bool:
    peers, other = ("to", connection.target) if direction == "Egress" else ("from", connection.source)
    if peers in rule and not any(_peer(each, other) for each in rule[peers]):
        return False
    ports = connection.target.ports
    return "ports" not in rule or any(
        each.get("protocol", "TCP") == connection.protocol
        and (ports.get(each["port"], -1) if isinstance(each["port"], str) else each["port"]) == connection.number
        for each in rule["ports"]
    )


def _peer(wanted: dict[str, Any], peer: Peer) -> bool:
    if "ipBlock" in wanted:
        return not peer.namespace and ipaddress.ip_address(peer.address) in ipaddress.ip_network(
            wanted["ipBlock"]["cidr"]
        )
    if not peer.namespace:
        return False
    if "namespaceSelector" in wanted:
        if not matches(wanted["namespaceSelector"], {"kubernetes.io/metadata.name": peer.namespace}):
            return False
    elif peer.namespace != "music":
        return False
    return matches(wanted.get("podSelector", {}), peer.labels)


def reached(rendered: Rendered, source: Peer, targets: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    return {
        (component, port) for component, port in targets if allowed(rendered, source, pod(rendered, component), port)
    }


EVERY_PORT = {
    ("synthesis", "internal"), ("edge", "http"), ("edge", "internal"), ("telemetry", "internal"),
    ("nats", "client"), ("nats", "monitor"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (OUTSIDE, {("edge", "http")}),
        (STRANGER, {("edge", "http")}),
        (PROMETHEUS, {("edge", "http"), ("edge", "internal"), ("synthesis", "internal"), ("telemetry", "internal")}),
    ],
    ids=["outside", "another pod", "prometheus"],
)
def test_peers_reach_the_ports_that_they_are_allowed(source: Peer, expected: set[tuple[str, str]]) -> None:
    assert reached(render(), source, EVERY_PORT) == expected


def test_pods_of_the_release_reach_the_ports_that_they_need() -> None:
    rendered = render()
    found = {
        component: reached(rendered, pod(rendered, component), EVERY_PORT)
        for component in ("synthesis", "edge", "telemetry")
    }
    assert found == {
        "synthesis": {("nats", "client")},
        "edge": {("nats", "client")},
        # The same ports by number: the rule for the Kubernetes API must not open ports of other pods.
        "telemetry": {("nats", "client")},
    }
    assert reached(rendered, pod(rendered, "nats"), EVERY_PORT) == set()
    assert reached(rendered, pod(rendered, "test"), EVERY_PORT) == {("edge", "http"), ("telemetry", "internal")}


def test_pods_reach_only_dns_and_the_kubernetes_api_outside() -> None:
    rendered = render()
    for component in ("synthesis", "edge", "telemetry"):
        own = pod(rendered, component)
        for dns in (DNS, NODE_DNS):
            assert allowed(rendered, own, dns, 53, "UDP")
            assert allowed(rendered, own, dns, 53, "TCP")
        assert not allowed(rendered, own, OUTSIDE, 53, "UDP")
        assert not allowed(rendered, own, OUTSIDE, 80)
        assert not allowed(rendered, own, STRANGER, 8080)
        assert allowed(rendered, own, API_SERVER, 443) == (component == "telemetry")
    assert not allowed(rendered, pod(rendered, "nats"), DNS, 53, "UDP"), "it answers and never calls"


def test_only_telemetry_with_deletion_costs_reaches_the_kubernetes_api() -> None:
    off = render(tree("telemetry.podDeletionCost", OFF))
    assert not allowed(off, pod(off, "telemetry"), API_SERVER, 443)
    values = tree("networkPolicy.apiServer", [{"ipBlock": {"cidr": "10.200.0.1/32"}}])
    known = render(values)
    assert allowed(known, pod(known, "telemetry"), API_SERVER, 6443)
    assert not allowed(known, pod(known, "telemetry"), OUTSIDE, 443)


def test_listeners_can_be_limited_to_some_peers() -> None:
    gateways = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateway"}}}]
    rendered = render(tree("networkPolicy.listeners", gateways))
    assert allowed(rendered, Peer({"app": "envoy"}, "gateway"), pod(rendered, "edge"), "http")
    assert not allowed(rendered, OUTSIDE, pod(rendered, "edge"), "http")
    assert allowed(rendered, pod(rendered, "test"), pod(rendered, "edge"), "http")


def test_pods_reach_the_ports_of_an_external_nats() -> None:
    rendered = render(EXTERNAL)
    bus = Peer(address="198.51.100.7")
    edge = pod(rendered, "edge")
    assert allowed(rendered, edge, bus, 4222)
    assert allowed(rendered, edge, bus, 4443)
    assert not allowed(rendered, edge, bus, 80)
    values = merge(EXTERNAL, tree("networkPolicy.externalNats", [{"ipBlock": {"cidr": "198.51.100.0/24"}}]))
    narrow = render(values)
    assert allowed(narrow, pod(narrow, "edge"), bus, 4222)
    assert not allowed(narrow, pod(narrow, "edge"), OUTSIDE, 4222)


@pytest.mark.parametrize(
    ("url", "port"), [("http://prometheus:9090", 9090), ("http://prometheus/base", 80), ("https://prometheus", 443)]
)
def test_telemetry_reaches_its_prometheus(url: str, port: int) -> None:
    without = render()
    assert not allowed(without, pod(without, "telemetry"), PROMETHEUS, port) or port in (443, 6443)
    asked = tree("telemetry", {"prometheusUrl": url, "podDeletionCost": OFF})
    rendered = render(asked)
    assert allowed(rendered, pod(rendered, "telemetry"), PROMETHEUS, port)
    assert not allowed(rendered, pod(rendered, "telemetry"), PROMETHEUS, port + 1)
    assert not allowed(rendered, pod(rendered, "edge"), PROMETHEUS, port)
    there = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    narrow = render(merge(asked, tree("networkPolicy.prometheus", there)))
    assert allowed(narrow, pod(narrow, "telemetry"), PROMETHEUS, port)
    assert not allowed(narrow, pod(narrow, "telemetry"), STRANGER, port)


def test_an_additional_rule_holds_for_every_pod() -> None:
    rule = {"to": [{"ipBlock": {"cidr": "198.51.100.4/32"}}], "ports": [{"port": 4318, "protocol": "TCP"}]}
    rendered = render(tree("networkPolicy.extraEgress", [rule]))
    collector = Peer(address="198.51.100.4")
    for component in ("synthesis", "edge", "telemetry"):
        assert allowed(rendered, pod(rendered, component), collector, 4318)
        assert not allowed(rendered, pod(rendered, component), collector, 4317)
        assert not allowed(rendered, pod(rendered, component), OUTSIDE, 4318)


def test_another_release_in_the_namespace_is_a_stranger() -> None:
    rendered = render()
    other = pod(render(release="second"), "edge")
    assert not allowed(rendered, other, pod(rendered, "nats"), "client")


def test_cluster_tests_pass_enforced_policies() -> None:
    folder = Path(__file__).parents[1] / "cluster"
    rendered = render(yaml.safe_load((folder / "small.yaml").read_text()), profile="cpu-only")
    deployments = [
        each for each in yaml.safe_load_all((folder / "monitoring.yaml").read_text()) if each["kind"] == "Deployment"
    ]
    labels = {each["metadata"]["name"]: each["spec"]["template"]["metadata"]["labels"] for each in deployments}
    prometheus = Peer(labels["prometheus"], "music")
    inside = {("edge", "internal"), ("synthesis", "internal"), ("telemetry", "internal")}
    assert reached(rendered, prometheus, inside) == inside
    plan = LoadPlan(
        "load", listeners=10, pods=2, seconds=1, ramp_s=1, streams=1, url="ws://auralis-edge/ws", image="edge"
    )
    load = Peer(job(plan)["spec"]["template"]["metadata"]["labels"], "music")
    assert reached(rendered, load, EVERY_PORT) == {("edge", "http")}


def test_policies_can_be_left_out() -> None:
    assert render(VARIANTS["nothing extra"]).all("NetworkPolicy") == []
