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
LEAST_PENDING: Final = 8
"""Pending connections that a port takes even where descriptors are few."""
INTERNAL_SHARE: Final = 0.25
"""Share of the descriptors that neither the process nor its listeners need that an internal port may take; the rest is
for the public port."""
OWN_DESCRIPTORS: Final = 64
"""Descriptors that a process needs for itself: listening sockets, the bus, files, the loop."""


def affordable(most: int, settings: Settings, *, share: float) -> int:
    """`most` pending connections, or as many fewer as the limit of descriptors (`ulimit -n`) asks for.

    Args:
        most: pending connections.
        settings: listeners must find a descriptor beside them.
        share: of the descriptors that are left, 0 to 1.
    """
    if resource is None:
        return most
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return most
    left = limit - settings.edge.max_connections - OWN_DESCRIPTORS
    return min(most, max(LEAST_PENDING, int(left * share)))


def public_guard(settings: Settings, metrics: HttpMetrics, *, is_proxy: Callable[[str], bool]) -> PortGuard:
    """The guard of a port that strangers reach.

    Args:
        settings: the limits.
        metrics: the process's.
        is_proxy: see `PortGuard`.
    """
    return PortGuard(
        "public",
        max_pending=affordable(settings.max_pending, settings, share=1 - INTERNAL_SHARE),
        max_pending_per_address=settings.max_pending_per_ip,
        is_proxy=is_proxy,
        metrics=metrics,
    )


def internal_guard(settings: Settings, metrics: HttpMetrics) -> PortGuard:
    """The guard of an internal port."""
    most = min(settings.max_pending, MAX_PENDING_INTERNAL)
    return PortGuard(
        "internal",
        max_pending=affordable(most, settings, share=INTERNAL_SHARE),
        max_pending_per_address=settings.max_pending_per_ip,
        metrics=metrics,
    )


def internal_hosts(settings: Settings) -> AllowedHosts:
    """Names under which an internal port answers: those of the settings, and this host's (in a pod the pod's)."""
    return AllowedHosts((*settings.internal_hosts, settings.internal_host, socket.gethostname()))
