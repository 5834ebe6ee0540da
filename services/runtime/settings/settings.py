"""Pure: settings as frozen dataclasses, with the defaults that hold when nothing is set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class BufferSettings:
    """How far ahead of the live tick a listener is filled."""

    initial_tier: str = "normal"
    max_capacity_ms: int = 3000
    min_capacity_ms: int = 200


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """Admission, limits and drain of an edge."""

    max_connections: int = 50
    rate_limit_chunks_per_s: int = 50
    max_streams: int = 128
    max_per_ip: int = 0
    """Listeners of one address; 0: no limit."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose X-Forwarded-For is believed."""
    allowed_origins: tuple[str, ...] = ("*",)
    jwt_key: str = field(default="", repr=False)
    jwt_audience: str = ""
    secret: str = field(default="", repr=False)
    """Signs resume tokens; empty: a random one, so tokens work on this process only."""
    drain_s: float = 30.0
    wait_for_renderers_s: float = 0.0
    """How long a starting edge stays unready while no renderer is ready."""


@dataclass(frozen=True, slots=True)
class SynthesisSettings:
    """How blocks are rendered."""

    device: Literal["auto", "mps", "cuda", "cpu"] = "auto"
    batch_size: int | None = None
    """Blocks rendered together; None: chosen from the device's memory and speed (`GPU_BATCH_SIZE=auto`)."""
    enable_compile: bool = True
    kernel_cache: str = ""
    """Folder of compiled kernels; empty: the user's cache folder."""


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """Where the bus is."""

    # It may hold a password: nats://user:password@host.
    url: str = field(default="nats://127.0.0.1:4222", repr=False)
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    credentials_file: str = ""
    tls_ca_file: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a service."""

    env: str = "development"
    host: str = "127.0.0.1"
    port: int = 8000
    log_level: str = "INFO"
    log_format: Literal["console", "json"] = "console"
    instance: str = ""
    """This process's name in the fleet; empty: `instance_name` makes one (in a pod: the pod's name)."""
    internal_host: str = "127.0.0.1"
    """Address of the internal port of edge and synthesis; only this machine reaches the default."""
    internal_hosts: tuple[str, ...] = ()
    """Names under which the internal ports answer, beside IP addresses, `localhost` and this host's name; "*": all."""
    max_pending: int = 2048
    """Connections of a port that no listener has yet; overflow drops the one that has waited longest."""
    max_pending_per_ip: int = 512
    """As many of one address."""
    metrics_enabled: bool = True
    metrics_port: int = 9090
    """The internal port (`/metrics /healthz /readyz /drain`); for telemetry its only port. 0: a free one, logged."""
    prometheus_url: str = field(default="", repr=False)
    """Prometheus whose alerts telemetry shows; empty: telemetry evaluates its own. The URL may hold a password."""
    traces: Literal["off", "otlp", "console"] = "off"
    """Where traces of blocks go."""
    traces_share: float = 0.01
    """Share of the blocks that are traced, above 0 and at most 1."""
    buffer: BufferSettings = field(default_factory=BufferSettings)
    edge: EdgeSettings = field(default_factory=EdgeSettings)
    synthesis: SynthesisSettings = field(default_factory=SynthesisSettings)
    nats: NatsSettings = field(default_factory=NatsSettings)
    warnings: tuple[str, ...] = ()
    """Sentences about variables that look like settings and are not; logged when logging is set up."""
