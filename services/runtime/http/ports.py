"""What the settings mean for a port (shell): its guard, and the names under which it answers."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from services.runtime.http.guard import PortGuard
from services.runtime.http.hosts import AllowedHosts
from services.runtime.metrics import HttpMetrics
from services.runtime.settings import Settings

try:
    import resource
except ImportError:
    # Windows has no such limit.
    resource = None  # type: ignore[assignment]

MAX_PENDING_INTERNAL: Final = 64
"""Pending connections of an internal port at most: its peers are few."""
LEAST_PENDING: Final = 16
"""Pending connections that a port takes even where descriptors are few."""
OWN_DESCRIPTORS: Final = 64
"""Descriptors that a process needs for itself: listening sockets, the bus, files, the loop."""


def affordable(most: int, *, listeners: int = 0) -> int:
    """`most` pending connections, or as many fewer as the limit of descriptors (`ulimit -n`) asks for.

    Args:
        most: pending connections.
        listeners: connections that must find a descriptor beside them.
    """
    if resource is None:
        return most
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return most
    return min(most, max(LEAST_PENDING, limit - listeners - OWN_DESCRIPTORS))


def public_guard(
    settings: Settings, metrics: HttpMetrics, *, listeners: int, is_proxy: Callable[[str], bool]
) -> PortGuard:
    """The guard of a port that strangers reach.

    Args:
        settings: the limits.
        metrics: the process's.
        listeners: connections beside the pending ones that the port takes.
        is_proxy: see `PortGuard`.
    """
    return PortGuard(
        "public",
        max_pending=affordable(settings.max_pending, listeners=listeners),
        max_pending_per_address=settings.max_pending_per_ip,
        is_proxy=is_proxy,
        metrics=metrics,
    )


def internal_guard(settings: Settings, metrics: HttpMetrics) -> PortGuard:
    """The guard of an internal port."""
    return PortGuard(
        "internal",
        max_pending=affordable(min(settings.max_pending, MAX_PENDING_INTERNAL)),
        max_pending_per_address=settings.max_pending_per_ip,
        metrics=metrics,
    )


def internal_hosts(settings: Settings) -> AllowedHosts:
    """Names under which an internal port answers: those of the settings, and this host's (in a pod the pod's)."""
    return AllowedHosts((*settings.internal_hosts, settings.internal_host, socket.gethostname()))
