from __future__ import annotations

import pytest

from services.runtime.http.addresses import is_loopback, owner_of
from services.runtime.http.hosts import AllowedHosts, well_formed


@pytest.mark.parametrize(
    "host",
    [
        "10.1.2.3", "10.1.2.3:9090", "127.0.0.1", "[::1]", "[fd00::7]:9090", "localhost", "LOCALHOST:9090",
        "localhost.", "edge-7d9", "edge-7d9:9090", "auralis-telemetry.music.svc.cluster.local:9090",
    ],
)  # fmt: skip
def test_addresses_localhost_and_given_names_are_allowed(host: str) -> None:
    assert host in AllowedHosts(["edge-7d9", "Auralis-Telemetry.music.svc.cluster.local."])


@pytest.mark.parametrize(
    "host",
    [
        "rebind.example", "rebind.example:9090", "localhost.rebind.example", "10.1.2.3.rebind.example",
        "edge-7d9.example",
        "x.localhost", "1.2.3", "2130706433", "0x7f.1", "[::1].example", "[::1", "[rebind.example]", "edge-7d9@a", "",
    ],
)  # fmt: skip
def test_every_other_name_is_not(host: str) -> None:
    assert host not in AllowedHosts(["edge-7d9", ""])


def test_a_star_allows_every_name() -> None:
    assert "rebind.example" in AllowedHosts(["*"])


@pytest.mark.parametrize("value", [b"", b"a", b"a:", b"a_b.example:80", b"1.2.3.4:9", b"[::1]", b"[::1]:80", b"%41"])
def test_hosts_that_a_request_may_have(value: bytes) -> None:
    assert well_formed(value)


@pytest.mark.parametrize("value", [b"a b", b"a/b", b"user@a", b"a:b", b"a:80:80", b"[::1", b"\xe9.example"])
def test_hosts_that_no_request_may_have(value: bytes) -> None:
    assert not well_formed(value)


def test_a_network_of_64_bits_is_one_owner_and_an_ipv4_address_is_one_however_it_is_written() -> None:
    assert owner_of("::ffff:192.0.2.1") == owner_of("192.0.2.1") != owner_of("192.0.2.2")
    assert owner_of("2001:db8::1") == owner_of("2001:db8::ffff%eth0") != owner_of("2001:db8:0:1::1")
    assert owner_of("testclient") == "testclient"


def test_loopback_is_this_machine() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1")))
    assert not any(map(is_loopback, ("10.0.0.1", "::2", "localhost", "")))
