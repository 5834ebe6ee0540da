"""Pure: limits on what one address may do; time is an argument."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable, Sequence


class AddressLimit:
    """How many connections each address has; of IPv6 a network of 64 bits is one, for a line at home has all of them.

    Args:
        most: connections per address; 0: no limit.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count one more; False: the address has as many as it may, nothing is counted."""
        holder = _holder(address)
        if self._most and self._open[holder] >= self._most:
            return False
        self._open[holder] += 1
        return True

    def leave(self, address: str) -> None:
        """Count one less."""
        holder = _holder(address)
        self._open[holder] -= 1
        if self._open[holder] <= 0:
            # Addresses come and go for ever; only those with a connection are remembered.
            del self._open[holder]

    def __len__(self) -> int:
        """Addresses with at least one connection."""
        return len(self._open)


def _holder(address: str) -> str:
    """Whose the address is: of IPv6 the network that providers give to one customer."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.IPv6Network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address


class ProxyTrust:
    """Finds a listener's address behind proxies that are known.

    Args:
        trusted: addresses or networks whose `X-Forwarded-For` is believed.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(text, strict=False) for text in trusted]

    def address(self, peer: str, forwarded_for: Sequence[str] = ()) -> str:
        """The nearest address that is not one of our proxies.

        Args:
            peer: who opened the TCP connection.
            forwarded_for: values of `X-Forwarded-For` headers, in order.
        """
        peer = _unmapped(peer)
        if not self.trusts(peer):
            return peer
        hops = [hop.strip() for value in forwarded_for for hop in value.split(",") if hop.strip()]
        # From the right: each proxy appends whom it saw. Whatever stands left of the first stranger is his claim.
        for hop in reversed(hops):
            address = _plain_address(hop)
            if address is None:
                return peer
            if not self.trusts(address):
                return address
            peer = address
        return peer

    def trusts(self, address: str) -> bool:
        """Whether `address` is one of the known proxies."""
        try:
            parsed = ipaddress.ip_address(_unmapped(address))
        except ValueError:
            return False
        return any(parsed.version == network.version and parsed in network for network in self._networks)


def _plain_address(hop: str) -> str | None:
    """An address without port and brackets; None if it is none."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return _unmapped(str(ipaddress.ip_address(hop)))
    except ValueError:
        return None


def _unmapped(address: str) -> str:
    """An IPv4 address as itself where a socket for both kinds writes it as `::ffff:192.0.2.1`."""
    try:
        mapped = ipaddress.IPv6Address(address).ipv4_mapped
    except ValueError:
        return address
    return address if mapped is None else str(mapped)


def origin_allowed(origin: str | None, allowed: Sequence[str], host: str | None = None) -> bool:
    """Whether a page from `origin` may open a WebSocket here.

    Without an `Origin` header it is no browser, and the check protects nobody. A page that this very host served is
    always welcome.

    Args:
        origin: the header's value.
        allowed: lower-case origins, or "*" for any.
        host: the request's `Host` header.
    """
    if origin is None or "*" in allowed:
        return True
    origin = origin.lower().rstrip("/")
    if origin in allowed:
        return True
    return bool(host) and origin.partition("://")[2] == str(host).lower()
