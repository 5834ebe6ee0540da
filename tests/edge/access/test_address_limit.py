from __future__ import annotations

from services.edge.access.address_limit import AddressLimit


def test_an_address_has_its_limit_and_is_forgotten_after_its_last_connection() -> None:
    limit = AddressLimit(2)
    assert [limit.enter("a"), limit.enter("a"), limit.enter("a"), limit.enter("b")] == [True, True, False, True]
    limit.leave("a")
    assert limit.enter("a")
    for address in ("a", "a", "b"):
        limit.leave(address)
    assert len(limit) == 0


def test_all_addresses_of_an_ipv6_network_of_64_bits_count_as_one() -> None:
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


def test_a_limit_of_0_is_no_limit() -> None:
    limit = AddressLimit(0)
    assert all(limit.enter("a") for _ in range(1000))
