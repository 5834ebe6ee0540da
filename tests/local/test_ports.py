import os
import socket

from services.local.ports import free_ports, reachable_host, why_not_free


def test_free_ports_are_different_and_can_be_listened_on() -> None:
    ports = free_ports(5)
    assert len(set(ports)) == 5
    for port in ports:
        assert why_not_free("127.0.0.1", port) is None


def test_a_port_in_use_is_reported_with_the_program_that_uses_it() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        reason = why_not_free("127.0.0.1", port)
        assert reason is not None
        assert f"port {port} is in use" in reason
        assert f"(pid {os.getpid()})" in reason


def test_a_port_whose_connections_have_just_closed_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        # The side that closes first is left in TIME_WAIT.
        accepted.close()
        client.close()
    assert why_not_free("127.0.0.1", port) is None


def test_a_host_that_cannot_be_resolved_or_is_not_ours_is_reported() -> None:
    assert "resolved" in (why_not_free("no.such.host.invalid", 80) or "")
    assert "192.0.2.1" in (why_not_free("192.0.2.1", 8000) or "")


def test_wildcard_addresses_are_reached_on_loopback() -> None:
    assert reachable_host("0.0.0.0") == "127.0.0.1"  # noqa: S104 - not bound
    assert reachable_host("::") == "[::1]"
    assert reachable_host("::1") == "[::1]"
    assert reachable_host("radio.example") == "radio.example"
