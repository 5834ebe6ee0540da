"""Pure: addresses of peers, and the owner that an address stands for."""

from __future__ import annotations

import ipaddress
from typing import Final

IPV6_PREFIX_BITS: Final = 64
"""Providers give each customer an IPv6 network of at least this size, so one household has all of its addresses."""


def unmapped(address: str) -> str:
    """An IPv4 address without the prefix `::ffff:`, which a socket for both versions adds."""
    try:
        mapped = ipaddress.IPv6Address(address).ipv4_mapped
    except ValueError:
        return address
    return address if mapped is None else str(mapped)


def owner_of(address: str) -> str:
    """The IPv4 address itself, or the /64 network of an IPv6 address; text that is no address stays as it is."""
    address = unmapped(address)
    if ":" not in address:
        return address
    try:
        return str(ipaddress.IPv6Network((address.partition("%")[0], IPV6_PREFIX_BITS), strict=False))
    except ValueError:
        return address


def is_loopback(address: str) -> bool:
    """Whether a peer is a program of this machine (in a pod: of this pod, or `kubectl port-forward`)."""
    try:
        return ipaddress.ip_address(unmapped(address)).is_loopback
    except ValueError:
        return False
