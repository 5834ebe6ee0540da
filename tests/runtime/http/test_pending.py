from __future__ import annotations

from services.runtime.http.pending import Dropped, PendingConnections


def test_the_connection_that_has_waited_longest_goes_when_there_are_too_many() -> None:
    pending: PendingConnections[str] = PendingConnections(2, 2)
    assert pending.add("one", "192.0.2.1") is None
    assert pending.add("two", "192.0.2.2") is None
    assert pending.add("three", "192.0.2.3") == Dropped("one", "pending")
    assert len(pending) == 2
    assert pending.add("four", "192.0.2.4") == Dropped("two", "pending")


def test_an_address_has_a_limit_and_drops_its_own_connection() -> None:
    pending: PendingConnections[str] = PendingConnections(10, 2)
    pending.add("other", "198.51.100.1")
    pending.add("one", "192.0.2.1")
    pending.add("two", "::ffff:192.0.2.1")
    assert pending.add("three", "192.0.2.1") == Dropped("one", "pending_address")
    assert len(pending) == 3


def test_a_network_of_64_bits_counts_as_one_address() -> None:
    pending: PendingConnections[int] = PendingConnections(10, 1)
    pending.add(1, "2001:db8::1")
    assert pending.add(2, "2001:db8::2") == Dropped(1, "pending_address")
    assert pending.add(3, "2001:db8:0:1::2") is None


def test_a_proxy_is_limited_in_total_only() -> None:
    pending: PendingConnections[int] = PendingConnections(3, 1, lambda address: address == "10.0.0.1")
    assert [pending.add(number, "10.0.0.1") for number in range(3)] == [None] * 3
    assert pending.add(3, "10.0.0.1") == Dropped(0, "pending")


def test_a_connection_that_was_served_waits_anew_and_leaves_its_place_when_it_goes() -> None:
    pending: PendingConnections[str] = PendingConnections(2, 2)
    pending.add("one", "192.0.2.1")
    pending.add("two", "192.0.2.1")
    pending.remove("one")
    pending.add("one", "192.0.2.1")
    assert pending.add("three", "192.0.2.1") == Dropped("two", "pending_address")
    for each in ("one", "three", "three", "unknown"):
        pending.remove(each)
    assert len(pending) == 0


def test_nothing_is_kept_of_addresses_that_have_left() -> None:
    pending: PendingConnections[int] = PendingConnections(4, 4)
    for number in range(1000):
        pending.add(number, f"10.0.{number // 256}.{number % 256}")
    assert len(pending) == len(pending._by_owner) == 4
