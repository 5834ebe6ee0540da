from __future__ import annotations

import pytest

from services.edge.access.addresses import AddressLimit, ProxyTrust, origin_allowed


def test_an_address_has_so_many_places_and_leaves_no_trace() -> None:
    limit = AddressLimit(2)
    assert [limit.enter("a"), limit.enter("a"), limit.enter("a"), limit.enter("b")] == [True, True, False, True]
    limit.leave("a")
    assert limit.enter("a")
    for address in ("a", "a", "b"):
        limit.leave(address)
    assert len(limit) == 0


def test_all_addresses_of_a_line_at_home_are_one() -> None:
    limit = AddressLimit(2)
    assert limit.enter("2001:db8:1:2::1")
    assert limit.enter("2001:db8:1:2:ffff::7")
    assert not limit.enter("2001:db8:1:2:a:b:c:d")
    assert limit.enter("2001:db8:1:3::1")
    assert limit.enter("fe80::1%eth0")
    limit.leave("2001:db8:1:2::1")
    assert limit.enter("2001:db8:1:2:a:b:c:d")
    for address in ("2001:db8:1:2::9", "2001:db8:1:2::9", "2001:db8:1:3::1", "fe80::1%eth0"):
        limit.leave(address)
    assert len(limit) == 0


def test_no_limit_is_no_limit() -> None:
    limit = AddressLimit(0)
    assert all(limit.enter("a") for _ in range(1000))


def test_a_strangers_forwarded_header_is_not_believed() -> None:
    assert ProxyTrust(()).address("203.0.113.9", ["198.51.100.1"]) == "203.0.113.9"


def test_behind_trusted_proxies_the_nearest_stranger_is_the_listener() -> None:
    trust = ProxyTrust(["10.0.0.0/8", "::1"])
    assert trust.address("10.0.0.1", ["1.2.3.4, 198.51.100.1, 10.2.2.2"]) == "198.51.100.1"
    assert trust.address("::1", ["198.51.100.1:4711"]) == "198.51.100.1"
    assert trust.address("::1", ["[2001:db8::1]:4711"]) == "2001:db8::1"
    assert trust.address("10.0.0.1", []) == "10.0.0.1"
    assert trust.address("10.0.0.1", ["198.51.100.1", "198.51.100.2"]) == "198.51.100.2"
    assert trust.address("10.0.0.1", ["198.51.100.1, nonsense"]) == "10.0.0.1"
    assert trust.address("10.0.0.1", ["10.9.9.9"]) == "10.9.9.9"
    assert trust.address("unix", ["198.51.100.1"]) == "unix"


def test_a_socket_for_both_kinds_of_addresses_makes_no_difference() -> None:
    trust = ProxyTrust(["10.0.0.0/8"])
    assert trust.trusts("::ffff:10.0.0.1")
    assert trust.address("::ffff:10.0.0.1", ["198.51.100.1"]) == "198.51.100.1"
    assert trust.address("::ffff:10.0.0.1", ["::ffff:198.51.100.1, ::ffff:10.9.9.9"]) == "198.51.100.1"
    # One address is one address, whichever way it came in.
    assert trust.address("::ffff:203.0.113.9") == trust.address("203.0.113.9") == "203.0.113.9"


@pytest.mark.parametrize(
    ("origin", "host", "welcome"),
    [
        (None, "edge", True),
        ("https://radio.example", "edge", True),
        ("https://RADIO.example/", "edge", True),
        ("https://evil.example", "edge", False),
        ("http://edge:8000", "edge:8000", True),
        ("null", "edge", False),
        ("https://radio.example.evil", "edge", False),
    ],
)
def test_pages_of_listed_origins_and_of_this_host_are_welcome(origin: str | None, host: str, welcome: bool) -> None:  # noqa: FBT001 - a table
    assert origin_allowed(origin, ("https://radio.example",), host) is welcome


def test_a_star_welcomes_everybody() -> None:
    assert origin_allowed("https://anything.example", ("*",))
