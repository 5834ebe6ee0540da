from __future__ import annotations

from services.edge.access.proxy_trust import ProxyTrust


def test_a_forwarded_header_of_an_unknown_peer_is_not_believed() -> None:
    assert ProxyTrust(()).address("203.0.113.9", ["198.51.100.1"]) == "203.0.113.9"


def test_behind_trusted_proxies_the_nearest_other_address_is_the_listeners() -> None:
    trust = ProxyTrust(["10.0.0.0/8", "::1"])
    assert trust.address("10.0.0.1", ["1.2.3.4, 198.51.100.1, 10.2.2.2"]) == "198.51.100.1"
    assert trust.address("::1", ["198.51.100.1:4711"]) == "198.51.100.1"
    assert trust.address("::1", ["[2001:db8::1]:4711"]) == "2001:db8::1"
    assert trust.address("10.0.0.1", []) == "10.0.0.1"
    assert trust.address("10.0.0.1", ["198.51.100.1", "198.51.100.2"]) == "198.51.100.2"
    assert trust.address("10.0.0.1", ["198.51.100.1, nonsense"]) == "10.0.0.1"
    assert trust.address("10.0.0.1", ["10.9.9.9"]) == "10.9.9.9"
    assert trust.address("unix", ["198.51.100.1"]) == "unix"


def test_an_ipv4_address_mapped_into_ipv6_is_the_same_address() -> None:
    trust = ProxyTrust(["10.0.0.0/8"])
    assert trust.trusts("::ffff:10.0.0.1")
    assert trust.address("::ffff:10.0.0.1", ["198.51.100.1"]) == "198.51.100.1"
    assert trust.address("::ffff:10.0.0.1", ["::ffff:198.51.100.1, ::ffff:10.9.9.9"]) == "198.51.100.1"
    assert trust.address("::ffff:203.0.113.9") == trust.address("203.0.113.9") == "203.0.113.9"
