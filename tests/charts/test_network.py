"""Network policies, judged as a CNI would judge them: who reaches whom, on which port."""

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
    """Somebody on the network: a pod with labels in a namespace, or an address outside."""

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


def pod(rendered: Rendered, part: str) -> Peer:
    metadata, spec = rendered.pod(part)
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
    """Whether a connection is let out at its source and in at its target."""
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
        return True  # nobody says anything: all is open
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
    return {(part, port) for part, port in targets if allowed(rendered, source, pod(rendered, part), port)}


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
def test_what_others_reach(source: Peer, expected: set[tuple[str, str]]) -> None:
    assert reached(render(), source, EVERY_PORT) == expected


def test_what_our_pods_reach_of_each_other() -> None:
    rendered = render()
    found = {part: reached(rendered, pod(rendered, part), EVERY_PORT) for part in ("synthesis", "edge", "telemetry")}
    assert found == {
        "synthesis": {("nats", "client")},
        "edge": {("nats", "client")},
        # The same ports by number: a pod that may talk to the Kubernetes API may talk to nothing else of ours.
        "telemetry": {("nats", "client")},
    }
    assert reached(rendered, pod(rendered, "nats"), EVERY_PORT) == set()
    assert reached(rendered, pod(rendered, "test"), EVERY_PORT) == {("edge", "http"), ("telemetry", "internal")}


def test_our_pods_reach_nothing_outside_but_names_and_the_api() -> None:
    rendered = render()
    for part in ("synthesis", "edge", "telemetry"):
        own = pod(rendered, part)
        for dns in (DNS, NODE_DNS):
            assert allowed(rendered, own, dns, 53, "UDP")
            assert allowed(rendered, own, dns, 53, "TCP")
        assert not allowed(rendered, own, OUTSIDE, 53, "UDP")
        assert not allowed(rendered, own, OUTSIDE, 80)
        assert not allowed(rendered, own, STRANGER, 8080)
        assert allowed(rendered, own, API_SERVER, 443) == (part == "telemetry")
    assert not allowed(rendered, pod(rendered, "nats"), DNS, 53, "UDP"), "it answers and never calls"


def test_the_api_is_reached_only_where_marks_are_set_and_where_it_is_said_to_be() -> None:
    off = render(tree("telemetry.podDeletionCost", OFF))
    assert not allowed(off, pod(off, "telemetry"), API_SERVER, 443)
    values = tree("networkPolicy.apiServer", [{"ipBlock": {"cidr": "10.200.0.1/32"}}])
    known = render(values)
    assert allowed(known, pod(known, "telemetry"), API_SERVER, 6443)
    assert not allowed(known, pod(known, "telemetry"), OUTSIDE, 443)


def test_listeners_can_be_let_in_from_somewhere_only() -> None:
    gateways = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "gateway"}}}]
    rendered = render(tree("networkPolicy.listeners", gateways))
    assert allowed(rendered, Peer({"app": "envoy"}, "gateway"), pod(rendered, "edge"), "http")
    assert not allowed(rendered, OUTSIDE, pod(rendered, "edge"), "http")
    assert allowed(rendered, pod(rendered, "test"), pod(rendered, "edge"), "http")


def test_with_an_external_bus_its_ports_are_reached() -> None:
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
def test_telemetry_reaches_the_prometheus_that_it_is_to_ask(url: str, port: int) -> None:
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


def test_a_further_rule_lets_every_pod_reach_what_it_names() -> None:
    rule = {"to": [{"ipBlock": {"cidr": "198.51.100.4/32"}}], "ports": [{"port": 4318, "protocol": "TCP"}]}
    rendered = render(tree("networkPolicy.extraEgress", [rule]))
    collector = Peer(address="198.51.100.4")
    for part in ("synthesis", "edge", "telemetry"):
        assert allowed(rendered, pod(rendered, part), collector, 4318)
        assert not allowed(rendered, pod(rendered, part), collector, 4317)
        assert not allowed(rendered, pod(rendered, part), OUTSIDE, 4318)


def test_another_release_in_the_namespace_is_a_stranger() -> None:
    rendered = render()
    other = pod(render(release="second"), "edge")
    assert not allowed(rendered, other, pod(rendered, "nats"), "client")


def test_the_tests_on_a_cluster_are_let_through_where_policies_are_enforced() -> None:
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
