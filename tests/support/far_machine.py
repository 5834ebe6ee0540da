"""Another machine for the network: a namespace with two cables to this one, one of which can be pulled.

While a cable is pulled, frames are lost silently: no connection is closed, nothing is acknowledged. A proxy
cannot do this: its own kernel acknowledges what it takes. Needs Linux, iproute2, and the right to make namespaces.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from tests.support.fault_proxy import fault_proxy

IP = shutil.which("ip")
UNUSED_ADDRESS = "02:00:00:00:00:01"
"""A hardware address that no end of a cable has: the receiver discards frames to it."""


@dataclass(frozen=True, slots=True)
class Cable:
    """One cable.

    Attributes:
        namespace: of the far end.
        near_end, far_end: names of the interfaces.
        near, far: addresses, of a network that is reserved for tests between machines (RFC 2544).
    """

    namespace: str
    near_end: str
    far_end: str
    near: str
    far: str

    def plug(self) -> None:
        """Connect the two for the first time."""
        ip("link", "add", self.near_end, "type", "veth", "peer", "name", self.far_end, "netns", self.namespace)
        for where, end, address in (((), self.near_end, self.near), (self._there, self.far_end, self.far)):
            ip(*where, "address", "add", f"{address}/30", "dev", end)
            ip(*where, "link", "set", end, "up")

    @contextlib.contextmanager
    def pulled(self) -> Iterator[None]:
        """Lose every packet either way during a `with` block."""
        ends = (((), self.near_end, self.far), (self._there, self.far_end, self.near))
        for where, end, other in ends:
            ip(*where, "neigh", "replace", other, "lladdr", UNUSED_ADDRESS, "dev", end, "nud", "permanent")
        try:
            yield
        finally:
            for where, end, other in ends:
                ip(*where, "neigh", "del", other, "dev", end)

    @property
    def _there(self) -> tuple[str, str]:
        return ("-n", self.namespace)


@dataclass(frozen=True, slots=True)
class FarMachine:
    """A namespace.

    Attributes:
        name: of the namespace.
        bus: the cable over which it reaches the bus.
        listeners: the cable over which it is reached.
        nats_url: the bus, as it is reached from there.
    """

    name: str
    bus: Cable
    listeners: Cable
    nats_url: str

    @property
    def run_there(self) -> list[str]:
        """Prefix of a command that makes it run there."""
        assert IP is not None
        return [IP, "netns", "exec", self.name]


@contextlib.asynccontextmanager
async def far_machine(nats_port: int) -> AsyncIterator[FarMachine | None]:
    """A machine that reaches the nats-server at `nats_port` of this one; None if namespaces are not permitted."""
    name = f"auralis-{os.getpid()}"
    if not made(name):
        yield None
        return
    try:
        ip("-n", name, "link", "set", "lo", "up")
        bus = Cable(name, f"au{os.getpid()}b", "bus", "198.18.0.1", "198.18.0.2")
        listeners = Cable(name, f"au{os.getpid()}l", "listeners", "198.18.0.5", "198.18.0.6")
        bus.plug()
        listeners.plug()
        # The server listens on loopback; the proxy passes on connections from the cable.
        async with fault_proxy(nats_port, host=bus.near) as line:
            yield FarMachine(name, bus, listeners, f"nats://{bus.near}:{line.port}")
    finally:
        # Deleting the namespace deletes both ends of the cables.
        ip("netns", "delete", name)


def made(namespace: str) -> bool:
    """Make a namespace; False if that is not permitted."""
    if IP is None:
        return False
    return subprocess.run([IP, "netns", "add", namespace], capture_output=True, check=False).returncode == 0


def ip(*arguments: str) -> None:
    """Run iproute2."""
    assert IP is not None
    subprocess.run([IP, *arguments], check=True, capture_output=True)
