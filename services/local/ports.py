"""TCP ports of this machine (shell): free ones, and why a port is not free."""

from __future__ import annotations

import contextlib
import errno
import socket

import psutil


def free_ports(count: int) -> list[int]:
    """`count` different TCP ports that are free on loopback at this moment."""
    with contextlib.ExitStack() as stack:
        # All sockets stay open until the last port is chosen: the kernel may offer a released port again.
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]


def why_not_free(host: str, port: int) -> str | None:
    """Why a server cannot listen on (`host`, `port`) now, as half a sentence; None if it can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        return f"the address {host!r} cannot be resolved ({error.strerror or error})"
    with socket.socket(family, kind, protocol) as probe:
        # Servers set it too: without it a port looks taken for a minute after its last connections have closed.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return f"port {port} is in use{_held_by(port)}"
            if error.errno == errno.EACCES:
                return f"port {port} needs privileges that this user lacks (ports below 1024 do)"
            return f"{host}:{port} cannot be used ({error.strerror})"
    return None


def _held_by(port: int) -> str:
    """Half a sentence that names the process on the port; empty if the system does not tell."""
    # The system hides other users' sockets; macOS hides all of them from unprivileged users.
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            local = connection.laddr
            if connection.status == psutil.CONN_LISTEN and local and local.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""


def reachable_host(host: str) -> str:
    """The address for connecting to a server that listens on `host`, which may be a wildcard address."""
    if host in ("", "0.0.0.0"):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host
