"""Where everything listens, and how each service is started (shell: it looks for free ports)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.local.ports import free_ports, reachable_host
from services.local.processes.nats_server import without_credentials
from services.local.processes.supervisor import ChildSpec
from services.runtime.settings import Settings

SERVICES: Final = ("synthesis", "edge", "telemetry")
_NATS_CREDENTIALS: Final = (
    "NATS_USER", "NATS_PASSWORD", "NATS_TOKEN", "NATS_CREDENTIALS_FILE", "NATS_TLS_CA_FILE",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything listens.

    Attributes:
        host: address for connecting to the public ports.
        edge_port, metrics_port: the public ports.
        internal_ports: service -> port of its `/readyz`.
        nats_url: address of the bus.
    """

    host: str
    edge_port: int
    metrics_port: int
    internal_ports: Mapping[str, int]
    nats_url: str

    def readyz(self, service: str) -> tuple[str, int]:
        """Host and port of the service's `/readyz`."""
        # Internal ports stay on loopback; telemetry has a single port, which is public.
        return (self.host if service == "telemetry" else "127.0.0.1"), self.internal_ports[service]


def choose_addresses(settings: Settings, nats_url: str) -> Addresses:
    """Public ports from the settings; free ports for the internal ones and for a setting of 0."""
    synthesis_port, edge_internal, edge_free, metrics_free = free_ports(4)
    metrics_port = settings.metrics_port or metrics_free
    return Addresses(
        host=reachable_host(settings.host),
        edge_port=settings.port or edge_free,
        metrics_port=metrics_port,
        internal_ports={"synthesis": synthesis_port, "edge": edge_internal, "telemetry": metrics_port},
        nats_url=nats_url,
    )


def plan_children(
    addresses: Addresses, *, passwords: Mapping[str, str] | None, drain_s: float, secret: str
) -> list[ChildSpec]:
    """The services as children of the supervisor.

    Args:
        addresses: see `choose_addresses`.
        passwords: service -> its password on the bus, of a server that `auralis up` starts itself; None: the bus is a
            server of the user, who has set the credentials.
        drain_s: seconds over which a stopping edge spreads its goodbyes.
        secret: signs resume tokens; a restarted edge accepts the tokens of the one before.
    """
    common = {
        "NATS_URL": addresses.nats_url,
        "AURALIS_LOG_FORMAT": "json",
        "AURALIS_DRAIN_SECONDS": f"{drain_s:g}",
        "AURALIS_INTERNAL_HOST": "127.0.0.1",
    }
    if passwords is not None:
        common |= dict.fromkeys(_NATS_CREDENTIALS, "")
    own = {
        "synthesis": {"AURALIS_HOST": "127.0.0.1"},
        "edge": {"AURALIS_PORT": str(addresses.edge_port), "AURALIS_SECRET": secret},
        "telemetry": {},
    }
    return [
        ChildSpec(
            name,
            module=f"services.{name}",
            environ={
                **common,
                **({} if passwords is None else {"NATS_USER": name, "NATS_PASSWORD": passwords[name]}),
                "METRICS_PORT": str(addresses.internal_ports[name]),
                **own[name],
            },
        )
        for name in SERVICES
    ]


def announcement(addresses: Addresses, *, http_stream: bool, ffplay: bool) -> list[tuple[str, str]]:
    """(name, value) of each line that is printed when everything is ready.

    Args:
        addresses: see `choose_addresses`.
        http_stream: the edge serves `/stream.opus`, so curl alone can fetch music.
        ffplay: ffplay is on PATH.
    """
    edge = f"{addresses.host}:{addresses.edge_port}"
    if http_stream:
        command = f"curl -sN http://{edge}/stream.opus | ffplay -nodisp -loglevel warning -i -"
    else:
        command = (
            f"auralis listen ws://{edge}/ws -o - | "
            "ffplay -nodisp -loglevel warning -f s16le -ar 44100 -ch_layout stereo -i -"
        )
    metrics = f"http://{addresses.host}:{addresses.metrics_port}"
    lines = [
        ("Player", f"http://{edge}/"),
        ("In a terminal", command),
        ("Metrics", f"{metrics}/metrics"),
        ("Fleet", f"{metrics}/"),
        ("NATS", without_credentials(addresses.nats_url)),
    ]
    for name in SERVICES:
        host, port = addresses.readyz(name)
        lines.append((f"{name} (internal)", f"http://{host}:{port}/readyz"))
    if not ffplay:
        lines.append(
            ("", "ffplay is not installed; it comes with ffmpeg (`apt install ffmpeg`, `brew install ffmpeg`)")
        )
    return lines
