"""Another machine, as far as packets know: a network namespace with two cables to this one, of which one can be pulled.

While a cable is pulled, frames are lost and nobody is told: no connection is closed, nothing is acknowledged. A proxy
cannot do this: its own kernel acknowledges what it takes. Needs Linux, iproute2, and the right to make namespaces.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from tests.support.bad_line import bad_line

IP = shutil.which("ip")
NOBODY = "02:00:00:00:00:01"
"""A hardware address that no end of a cable has: frames to it are thrown away where they arrive."""


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
        """Lose everything that is sent either way, for the time of a `with` block."""
        ends = (((), self.near_end, self.far), (self._there, self.far_end, self.near))
        for where, end, other in ends:
            ip(*where, "neigh", "replace", other, "lladdr", NOBODY, "dev", end, "nud", "permanent")
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
        """What stands before a command, so that it runs there."""
        assert IP is not None
        return [IP, "netns", "exec", self.name]


@contextlib.asynccontextmanager
async def far_machine(nats_port: int) -> AsyncIterator[FarMachine | None]:
    """A machine that reaches the nats-server at `nats_port` of this one; None where none can be made."""
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
        # The server listens on loopback; what comes over the cable is led there.
        async with bad_line(nats_port, host=bus.near) as line:
            yield FarMachine(name, bus, listeners, f"nats://{bus.near}:{line.port}")
    finally:
        # Its ends of the cables go with it, and with them ours.
        ip("netns", "delete", name)


def made(namespace: str) -> bool:
    """Make a namespace; False where that cannot be done."""
    if IP is None:
        return False
    return subprocess.run([IP, "netns", "add", namespace], capture_output=True, check=False).returncode == 0


def ip(*arguments: str) -> None:
    """Run iproute2."""
    assert IP is not None
    subprocess.run([IP, *arguments], check=True, capture_output=True)
