"""The environment variables of Auralis, in the order in which they are shown (shell: some name files)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from services.contract.websocket import TIERS
from services.runtime.settings.settings import Settings
from services.runtime.settings.values import (
    batch_size,
    existing_file,
    flag,
    folder,
    host,
    host_names,
    http_url,
    matching,
    nats_urls,
    networks,
    one_of,
    origins,
    seconds,
    secret,
    share,
    whole,
)


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable: its name, how it is read and what it means.

    Attributes:
        name: as in the environment.
        target: the setting that it sets: "section.field", or "field" of `Settings` itself.
        read: turns the text into the value; raises ValueError when it cannot.
        expected: what `read` takes, in words that follow "expected".
        meaning: one sentence for people, in Markdown.
        secret: its value is never shown.
    """

    name: str
    target: str
    read: Callable[[str], Any]
    expected: str
    meaning: str
    secret: bool = False

    @property
    def default(self) -> str:
        """The value that holds without the variable, as a person would write it; "" where there is none."""
        return _written(attrgetter(self.target)(Settings()))


def _written(value: object) -> str:
    """The text that `Variable.read` turns into `value`."""
    match value:
        case None:
            return "auto"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case tuple():
            return ",".join(value)
    return str(value)


_ANY = matching(r".+")
_PORT = "a port from 0 to 65535 (0: a free one)"
_FLAG = "true or false"

VARIABLES: Final = (
    Variable(
        "AURALIS_ENV", "env", matching(r"[A-Za-z0-9_-]{1,40}"), "a name of letters, digits, '-' and '_'",
        "Name of this deployment, in JSON log lines and traces: `development`, `testing`, `production` or your own.",
    ),
    Variable(
        "AURALIS_HOST", "host", host, "a host name or an IP address, without a port",
        "Address to listen on; `0.0.0.0` for every interface.",
    ),
    Variable(
        "AURALIS_PORT", "port", whole(0, 65535), _PORT,
        "Port of the edge: player, WebSocket and HTTP streams. 0: a free one.",
    ),
    Variable(
        "AURALIS_INTERNAL_HOST", "internal_host", host, "a host name or an IP address, without a port",
        "Address of the internal port of edge and synthesis (`/metrics`, `/readyz`, `/drain`); pods are probed from "
        "outside, so the chart opens it.",
    ),
    Variable(
        "AURALIS_INTERNAL_HOSTS", "internal_hosts", host_names, "host names without a port, separated by commas, or *",
        "Names under which internal ports may be asked, beside IP addresses, `localhost` and the host's (pod's) name; "
        "others get 421, so that no web page reads them through a name of its own (DNS rebinding). `*` allows all.",
    ),
    Variable(
        "AURALIS_DEVICE", "synthesis.device", one_of("auto", "mps", "cuda", "cpu"), "auto, mps, cuda or cpu",
        "Where music is rendered: `auto`, `mps`, `cuda` or `cpu`; `auto` takes the fastest there is.",
    ),
    Variable(
        "AURALIS_LOG_LEVEL", "log_level", one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", upper=True),
        "DEBUG, INFO, WARNING, ERROR or CRITICAL",
        "Least severity that is logged: `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`.",
    ),
    Variable(
        "AURALIS_LOG_FORMAT", "log_format", one_of("console", "json"), "console or json",
        "`console` for people, `json` for machines: one object a line.",
    ),
    Variable(
        "AURALIS_INSTANCE", "instance", matching(r"[A-Za-z0-9._-]{1,63}"),
        "1 to 63 letters, digits, '.', '_' or '-'",
        "This process's name in the fleet. Default: the pod's name, else service, host and process id.",
    ),
    Variable(
        "BUFFER_INITIAL_TIER", "buffer.initial_tier", one_of(*TIERS), f"one of {', '.join(TIERS)}",
        "How far ahead a new listener is filled: `minimal` (0.5 s), `normal` (1 s), `stable` (1.5 s) or "
        "`defensive` (2.5 s).",
    ),
    Variable(
        "BUFFER_MAX_CAPACITY_MS", "buffer.max_capacity_ms", whole(100, 3000), "milliseconds from 100 to 3000",
        "The deepest buffer that any tier may give, in milliseconds.",
    ),
    Variable(
        "BUFFER_MIN_CAPACITY_MS", "buffer.min_capacity_ms", whole(100, 3000), "milliseconds from 100 to 3000",
        "The least buffer that any tier gives, in milliseconds.",
    ),
    Variable(
        "WS_MAX_CONNECTIONS", "edge.max_connections", whole(1, 1_000_000), "a whole number from 1 to 1000000",
        "Listeners an edge takes; further ones get 503 with Retry-After.",
    ),
    Variable(
        "WS_RATE_LIMIT_CHUNKS_PER_SEC", "edge.rate_limit_chunks_per_s", whole(11, 1000),
        "a whole number from 11 to 1000 (music takes 10 a second)",
        "Chunks sent to one listener per second at most, after a first burst.",
    ),
    Variable(
        "GPU_BATCH_SIZE", "synthesis.batch_size", batch_size, "auto or a whole number from 1 to 1024",
        "Blocks rendered together; `auto` measures the device.",
    ),
    Variable(
        "GPU_ENABLE_COMPILE", "synthesis.enable_compile", flag, _FLAG,
        "Compile the kernels where a compiler is there; `false` renders several times slower.",
    ),
    Variable(
        "METRICS_ENABLED", "metrics_enabled", flag, _FLAG,
        "Whether `/metrics` answers.",
    ),
    Variable(
        "METRICS_PORT", "metrics_port", whole(0, 65535), _PORT,
        "Internal port of a service (`/metrics /healthz /readyz /drain`); with `auralis up` the telemetry's. "
        "0: a free one.",
    ),
    Variable(
        "AURALIS_PROMETHEUS_URL", "prometheus_url", http_url, "http://host:port or https://host:port",
        "A Prometheus whose alerts the dashboard shows; without it telemetry judges the fleet itself.",
    ),
    Variable(
        "AURALIS_TRACES", "traces", one_of("off", "otlp", "console"), "off, otlp or console",
        "OpenTelemetry traces of blocks: `off`, `otlp` (to `OTEL_EXPORTER_OTLP_ENDPOINT`) or `console` (stderr).",
    ),
    Variable(
        "AURALIS_TRACES_SHARE", "traces_share", share, "a number above 0 and at most 1",
        "Share of the blocks that are traced, the same ones in every service.",
    ),
    Variable(
        "NATS_URL", "nats.url", nats_urls, "nats://host:port or tls://host:port, several with commas",
        "The bus. Several servers are separated by commas.",
    ),
    Variable("NATS_USER", "nats.user", _ANY, "a user", "User to sign in to the bus as."),
    Variable("NATS_PASSWORD", "nats.password", _ANY, "a password", "Its password.", secret=True),
    Variable(
        "NATS_TOKEN", "nats.token", _ANY, "a token", "Token to sign in with, in place of a user.", secret=True
    ),
    Variable(
        "NATS_CREDENTIALS_FILE", "nats.credentials_file", existing_file, "a readable file",
        "A `.creds` file to sign in with, in place of a user.",
    ),
    Variable(
        "NATS_TLS_CA_FILE", "nats.tls_ca_file", existing_file, "a readable file of PEM certificates",
        "Certificates that the bus's certificate is checked against; switches TLS on.",
    ),
    Variable(
        "AURALIS_MAX_STREAMS", "edge.max_streams", whole(1, 100_000), "a whole number from 1 to 100000",
        "Different streams an edge holds at a time; further ones are refused politely.",
    ),
    Variable(
        "AURALIS_TRUSTED_PROXIES", "edge.trusted_proxies", networks, "IP addresses or networks, separated by commas",
        "Proxies whose X-Forwarded-For is believed: `10.0.0.0/8,127.0.0.1`.",
    ),
    Variable(
        "AURALIS_ALLOWED_ORIGINS", "edge.allowed_origins", origins,
        "'*' or origins such as https://radio.example, separated by commas",
        "Web pages that may connect; `*`: all of them.",
    ),
    Variable(
        "AURALIS_MAX_PER_IP", "edge.max_per_ip", whole(0, 1_000_000), "a whole number from 0 to 1000000",
        "Listeners from one address at most, or from one IPv6 network of 64 bits; 0: no limit.",
    ),
    Variable(
        "AURALIS_MAX_PENDING", "max_pending", whole(1, 1_000_000), "a whole number from 1 to 1000000",
        "Connections of a port that no listener has yet (no request, no upgrade, or idle); a further one drops the one "
        "that has waited longest. Fewer where descriptors are few (`ulimit -n`); internal ports take 64 at most.",
    ),
    Variable(
        "AURALIS_MAX_PENDING_PER_IP", "max_pending_per_ip", whole(1, 1_000_000), "a whole number from 1 to 1000000",
        "As many of one address, or of one IPv6 network of 64 bits; proxies of `AURALIS_TRUSTED_PROXIES` have no limit "
        "of their own.",
    ),
    Variable(
        "AURALIS_JWT_KEY", "edge.jwt_key", secret, "at least 16 characters",
        "Listeners must show a JWT signed with this key; empty: anyone may listen.", secret=True,
    ),
    Variable(
        "AURALIS_JWT_AUDIENCE", "edge.jwt_audience", _ANY, "a text", "The audience that a JWT must be for.",
    ),
    Variable(
        "AURALIS_SECRET", "edge.secret", secret, "at least 16 characters",
        "Signs the tokens that resume a broken connection; the same on all edges, so that another edge takes them. "
        "Empty: a random one for this process.", secret=True,
    ),
    Variable(
        "AURALIS_DRAIN_SECONDS", "edge.drain_s", seconds, "seconds from 0 to 3600",
        "How long a stopping edge spreads its goodbyes over.",
    ),
    Variable(
        "AURALIS_WAIT_FOR_RENDERERS_SECONDS", "edge.wait_for_renderers_s", seconds, "seconds from 0 to 3600",
        "How long a starting edge is not ready while no renderer is. Where everything is replaced together, listeners "
        "then stay on the old edges, which play a loop for them.",
    ),
    Variable(
        "AURALIS_KERNEL_CACHE", "synthesis.kernel_cache", folder, "a folder (it is created where it does not exist)",
        "Folder of compiled kernels. Default: the user's cache folder.",
    ),
)  # fmt: skip

BY_NAME: Final = {variable.name: variable for variable in VARIABLES}
