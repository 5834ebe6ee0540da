"""A limit on the bytes of a connection that the kernel holds unsent (shell)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Final

NOTSENT_LOWAT_BYTES: Final = 128 * 1024
"""Unsent bytes of one connection in the kernel; the rest stays in this process, where it is seen and counted."""


def limit_unsent_bytes(transport: asyncio.Transport) -> None:
    """Set `TCP_NOTSENT_LOWAT` on the transport's socket, where there is such an option."""
    tcp_socket: socket.socket | None = transport.get_extra_info("socket")
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if tcp_socket is not None and option is not None:
        # Unix sockets and some kernels reject it; then more waits in the kernel, and nothing breaks.
        with contextlib.suppress(OSError):
            tcp_socket.setsockopt(socket.IPPROTO_TCP, option, NOTSENT_LOWAT_BYTES)
