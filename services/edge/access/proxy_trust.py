"""Pure: the address of a client behind known proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from services.runtime.http.addresses import unmapped


class ProxyTrust:
    """Finds a client's address behind proxies that are trusted.

    Args:
        trusted: addresses or networks of proxies whose `X-Forwarded-For` is believed.

    Raises:
        ValueError: an entry is neither an address nor a network.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(text, strict=False) for text in trusted]

    def address(self, peer: str, forwarded_for: Sequence[str] = ()) -> str:
        """The nearest address that is not a trusted proxy.

        Args:
            peer: address of the other end of the TCP connection.
            forwarded_for: values of `X-Forwarded-For` headers, in order.
        """
        peer = unmapped(peer)
        if not self.trusts(peer):
            return peer
        hops = [hop.strip() for value in forwarded_for for hop in value.split(",") if hop.strip()]
        # From the right, because each proxy appends the address that it saw. The first address that is not a proxy is
        # the client's; entries to the left of it are only claimed by the client.
        for hop in reversed(hops):
            address = _plain_address(hop)
            if address is None:
                return peer
            if not self.trusts(address):
                return address
            peer = address
        return peer

    def trusts(self, address: str) -> bool:
        """Whether `address` is a trusted proxy."""
        try:
            parsed = ipaddress.ip_address(unmapped(address))
        except ValueError:
            return False
        return any(parsed.version == network.version and parsed in network for network in self._networks)


def _plain_address(hop: str) -> str | None:
    """The address without port and brackets; None if `hop` is not an address."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return unmapped(str(ipaddress.ip_address(hop)))
    except ValueError:
        return None
