"""Settings: frozen dataclasses, read once from the environment and `.env`."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values

from services.contract.errors import shorten
from services.contract.websocket import TIERS


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
    """0: no limit."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks whose X-Forwarded-For is believed."""
    allowed_origins: tuple[str, ...] = ("*",)
    jwt_key: str = field(default="", repr=False)
    jwt_audience: str = ""
    secret: str = field(default="", repr=False)
    """Signs resume tokens; empty: a random one, so tokens work on this process only."""
    drain_s: float = 30.0


@dataclass(frozen=True, slots=True)
class SynthesisSettings:
    """How blocks are rendered."""

    device: Literal["auto", "mps", "cuda", "cpu"] = "auto"
    batch_size: int | None = None
    """Blocks rendered at once; None: chosen from the device's memory and speed (`GPU_BATCH_SIZE=auto`)."""
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
    """Everything a service is told from outside."""

    env: str = "development"
    host: str = "127.0.0.1"
    port: int = 8000
    log_level: str = "INFO"
    log_format: Literal["console", "json"] = "console"
    instance: str = ""
    """This process's name in the fleet; empty: `instance_name` makes one (in a pod: the pod's name)."""
    internal_host: str = "127.0.0.1"
    """Where `/metrics /healthz /readyz /drain` of the edge and of synthesis are reached: nobody else's business."""
    metrics_enabled: bool = True
    metrics_port: int = 9090
    """The internal port (`/metrics /healthz /readyz /drain`); for telemetry its only port. 0: a free one, printed."""
    prometheus_url: str = ""
    """Whose alerts telemetry shows; empty: it judges the fleet itself."""
    traces: Literal["off", "otlp", "console"] = "off"
    """Where traces of blocks go."""
    traces_share: float = 0.01
    """Of the blocks, 0 to 1."""
    buffer: BufferSettings = field(default_factory=BufferSettings)
    edge: EdgeSettings = field(default_factory=EdgeSettings)
    synthesis: SynthesisSettings = field(default_factory=SynthesisSettings)
    nats: NatsSettings = field(default_factory=NatsSettings)
    warnings: tuple[str, ...] = ()
    """Sentences about names that look like settings and are not; logged when logging is set up."""


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One line of the settings table: what documentation is made of.

    Attributes:
        name: the environment variable.
        default: what holds without it, as it would be written; "" where there is nothing.
        meaning: one sentence, with the values that are taken.
    """

    name: str
    default: str
    meaning: str


class SettingsError(ValueError):
    """The environment cannot be used.

    Attributes:
        problems: one sentence for each bad variable: its name, what was seen, what is expected.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


@dataclass(frozen=True, slots=True)
class _Variable:
    """How one variable is read.

    Attributes:
        target: where its value goes: "section.field", or "field" of Settings itself.
        read: turns the text into the value; raises ValueError when it cannot.
        expected: what `read` takes, in words that follow "expected".
        secret: its value is never shown.
    """

    name: str
    target: str
    read: Callable[[str], Any]
    expected: str
    meaning: str
    default: str
    secret: bool = False


def load_settings(environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")) -> Settings:
    """Read the settings; a variable of the environment wins over one of `.env`. Neither is changed.

    A variable that is set to nothing counts as not set: that is how compose files and charts write "no value".

    Args:
        environ: the environment; None: this process's own.
        dotenv: a file of `NAME=value` lines, read where it exists; None: none.

    Raises:
        SettingsError: with one sentence for every value that cannot be used, not only the first.
    """
    own = dict(os.environ if environ is None else environ)
    problems: list[str] = []
    from_file = _read_dotenv(dotenv, problems)
    texts = {name: text.strip() for name, text in {**from_file, **own}.items() if text.strip()}

    values: dict[str, dict[str, Any]] = {}
    for variable in _VARIABLES:
        text = texts.get(variable.name)
        if text is None:
            continue
        try:
            value = variable.read(text)
        except ValueError:
            problems.append(_complaint(variable, text))
            continue
        section, _, name = variable.target.rpartition(".")
        values.setdefault(section, {})[name] = value

    defaults = Settings()
    sections = {
        name: replace(getattr(defaults, name), **values[name]) for name in ("buffer", "edge", "synthesis", "nats")
        if name in values
    }  # fmt: skip
    settings = replace(defaults, **values.get("", {}), **sections, warnings=_unknown_names(texts))
    problems += _contradictions(settings)
    if problems:
        raise SettingsError(problems)
    return settings


def load_settings_or_exit() -> Settings:
    """`load_settings`, or every problem on stderr and exit code 2."""
    try:
        return load_settings()
    except SettingsError as error:
        count = len(error.problems)
        print(f"Auralis cannot start: {count} setting{'s' if count > 1 else ''} cannot be used.", file=sys.stderr)  # noqa: T201 - before logging is set up
        for problem in error.problems:
            print(f"  {problem}", file=sys.stderr)  # noqa: T201 - as above
        sys.exit(2)


def settings_table() -> tuple[SettingRow, ...]:
    """Every variable with its default and meaning, in the order in which they should be shown."""
    return tuple(SettingRow(v.name, v.default, v.meaning) for v in _VARIABLES)


def settings_markdown() -> str:
    """`settings_table` as a Markdown table."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for row in settings_table():
        default = f"`{row.default}`" if row.default else ""
        meaning = row.meaning.replace("|", "\\|")
        lines.append(f"| `{row.name}` | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


# --- reading ---------------------------------------------------------------------------------------------------------


def _read_dotenv(path: Path | None, problems: list[str]) -> dict[str, str]:
    if path is None or not path.is_file():
        return {}
    try:
        # No interpolation: a password may hold a dollar sign, and the values of os.environ have no business here.
        read = dotenv_values(path, interpolate=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path}: cannot be read ({error}); make it a UTF-8 file of NAME=value lines, or remove it")
        return {}
    values: dict[str, str] = {}
    for name, value in read.items():
        if value is not None:
            values[name] = value
        elif name in _BY_NAME:
            problems.append(f"{name}: got a line without '=' in {path}, expected {name}=value")
    return values


def _complaint(variable: _Variable, text: str) -> str:
    if variable.secret:
        seen = f"a value of {len(text)} characters (not shown)"
    elif "@" in text and "://" in text:
        seen = "an address with credentials (not shown)"
    else:
        seen = shorten(text)
    hint = ""
    if text.startswith("tcp://") and variable.name.endswith("_PORT"):
        hint = "; Kubernetes has put a service's address here: set enableServiceLinks: false on the pod"
    return f"{variable.name}: got {seen}, expected {variable.expected}{hint}"


def _contradictions(settings: Settings) -> list[str]:
    problems = []
    low, high = settings.buffer.min_capacity_ms, settings.buffer.max_capacity_ms
    if low > high:
        problems.append(
            f"BUFFER_MIN_CAPACITY_MS: got {low}, expected at most BUFFER_MAX_CAPACITY_MS, which is {high}; change one"
        )
    if settings.metrics_enabled and settings.port == settings.metrics_port != 0:
        problems.append(
            f"METRICS_PORT: got {settings.metrics_port}, which is AURALIS_PORT too, expected another port; change one"
        )
    nats = settings.nats
    if nats.password and not nats.user:
        problems.append("NATS_PASSWORD: got a password without NATS_USER, expected both or neither")
    if nats.user and not nats.password:
        problems.append("NATS_USER: got a user without NATS_PASSWORD, expected both or neither")
    ways = [
        name
        for name, value in (
            ("NATS_USER", nats.user),
            ("NATS_TOKEN", nats.token),
            ("NATS_CREDENTIALS_FILE", nats.credentials_file),
        )
        if value
    ]
    if len(ways) > 1:
        problems.append(f"{ways[0]}: got {' and '.join(ways)} together, expected one way to sign in; remove the others")
    if settings.edge.jwt_audience and not settings.edge.jwt_key:
        problems.append("AURALIS_JWT_AUDIENCE: got an audience without AURALIS_JWT_KEY, expected both or neither")
    return problems


_PREFIXES: Final = ("AURALIS_", "BUFFER_", "WS_", "GPU_", "METRICS_", "NATS_")
# What Kubernetes sets for every service in the namespace (AURALIS_EDGE_SERVICE_HOST, AURALIS_EDGE_PORT_8000_TCP_ADDR).
_SERVICE_LINK = re.compile(r".*_SERVICE_(HOST|PORT(_\w+)?)|.*_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")


def _unknown_names(texts: Mapping[str, str]) -> tuple[str, ...]:
    """A sentence for every name that looks like ours and is not."""
    warnings = []
    for name in sorted(texts):
        if name in _BY_NAME or not name.startswith(_PREFIXES) or _SERVICE_LINK.fullmatch(name):
            continue
        close = difflib.get_close_matches(name, _BY_NAME, n=1, cutoff=0.8)
        if close:
            warnings.append(f"{name} is not a setting of Auralis and is ignored; did you mean {close[0]}?")
        elif name.startswith("AURALIS_"):
            # The other prefixes are common words: other programs may own NATS_HOME or GPU_COUNT.
            warnings.append(f"{name} is not a setting of Auralis and is ignored")
    return tuple(warnings)


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        # int() alone would take '1_000', '٣' and ' 5'.
        if not re.fullmatch(r"-?[0-9]{1,12}", text) or not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    return read


def _one_of(*choices: str, upper: bool = False) -> Callable[[str], str]:
    def read(text: str) -> str:
        value = text.upper() if upper else text.lower()
        if value not in choices:
            raise ValueError(text)
        return value

    return read


def _matching(pattern: str) -> Callable[[str], str]:
    compiled = re.compile(pattern)

    def read(text: str) -> str:
        if not compiled.fullmatch(text):
            raise ValueError(text)
        return text

    return read


def _flag(text: str) -> bool:
    return _FLAGS[_one_of(*_FLAGS)(text)]


_FLAGS: Final[Mapping[str, bool]] = {
    "true": True, "1": True, "yes": True, "on": True,
    "false": False, "0": False, "no": False, "off": False,
}  # fmt: skip


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 3600:
        raise ValueError(text)
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise ValueError(text)
    return value


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(text)
    _ = parts.port  # raises ValueError for a port that is not one
    return text.rstrip("/")


def _batch_size(text: str) -> int | None:
    return None if text.lower() == "auto" else _whole(1, 1024)(text)


def _host(text: str) -> str:
    if ":" in text:
        return str(ipaddress.IPv6Address(text.removeprefix("[").removesuffix("]")))
    return _matching(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252})")(text)


def _listed(text: str) -> tuple[str, ...]:
    items = tuple(item.strip() for item in text.split(",") if item.strip())
    if not items:
        raise ValueError(text)
    return items


def _networks(text: str) -> tuple[str, ...]:
    return tuple(str(ipaddress.ip_network(item, strict=False)) for item in _listed(text))


def _origins(text: str) -> tuple[str, ...]:
    items = _listed(text)
    for item in items:
        parts = urlsplit(item)
        if item == "*":
            continue
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query:
            raise ValueError(item)
    return tuple(item.lower() for item in items)


def _nats_urls(text: str) -> str:
    urls = _listed(text)
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme not in ("nats", "tls") or not parts.hostname:
            raise ValueError(url)
        _ = parts.port  # raises ValueError for a port that is not one
    return ",".join(urls)


def _existing_file(text: str) -> str:
    path = Path(text).expanduser()
    if not path.is_file() or not os.access(path, os.R_OK):
        raise ValueError(text)
    return str(path)


def _folder(text: str) -> str:
    path = Path(text).expanduser()
    if path.exists() and not path.is_dir():
        raise ValueError(text)
    return str(path)


def _secret(text: str) -> str:
    if len(text) < 16:
        raise ValueError(text)
    return text


_ANY = _matching(r".+")
_PORT = "a port from 0 to 65535 (0: a free one)"
_FLAG = "true or false"

_VARIABLES: Final = (
    _Variable(
        "AURALIS_ENV", "env", _matching(r"[A-Za-z0-9_-]{1,40}"), "a name of letters, digits, '-' and '_'",
        "Name of this deployment, shown in logs: `development`, `testing`, `production` or your own.", "development",
    ),
    _Variable(
        "AURALIS_HOST", "host", _host, "a host name or an IP address, without a port",
        "Address to listen on; `0.0.0.0` for every interface.", "127.0.0.1",
    ),
    _Variable(
        "AURALIS_PORT", "port", _whole(0, 65535), _PORT,
        "Port of the edge: player, WebSocket and HTTP streams. 0: a free one.", "8000",
    ),
    _Variable(
        "AURALIS_INTERNAL_HOST", "internal_host", _host, "a host name or an IP address, without a port",
        "Address of the internal port of edge and synthesis (`/metrics`, `/readyz`, `/drain`); pods are probed from "
        "outside, so the chart opens it.", "127.0.0.1",
    ),
    _Variable(
        "AURALIS_DEVICE", "synthesis.device", _one_of("auto", "mps", "cuda", "cpu"), "auto, mps, cuda or cpu",
        "Where music is rendered: `auto`, `mps`, `cuda` or `cpu`; `auto` takes the fastest there is.", "auto",
    ),
    _Variable(
        "AURALIS_LOG_LEVEL", "log_level", _one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", upper=True),
        "DEBUG, INFO, WARNING, ERROR or CRITICAL",
        "Least severity that is logged: `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`.", "INFO",
    ),
    _Variable(
        "AURALIS_LOG_FORMAT", "log_format", _one_of("console", "json"), "console or json",
        "`console` for people, `json` for machines: one object a line.", "console",
    ),
    _Variable(
        "AURALIS_INSTANCE", "instance", _matching(r"[A-Za-z0-9._-]{1,63}"),
        "1 to 63 letters, digits, '.', '_' or '-'",
        "This process's name in the fleet. Default: the pod's name, else service, host and process id.", "",
    ),
    _Variable(
        "BUFFER_INITIAL_TIER", "buffer.initial_tier", _one_of(*TIERS), f"one of {', '.join(TIERS)}",
        "How far ahead a new listener is filled: `minimal` (0.5 s), `normal` (1 s), `stable` (1.5 s) or "
        "`defensive` (2.5 s).", "normal",
    ),
    _Variable(
        "BUFFER_MAX_CAPACITY_MS", "buffer.max_capacity_ms", _whole(100, 3000), "milliseconds from 100 to 3000",
        "The deepest buffer that any tier may give, in milliseconds.", "3000",
    ),
    _Variable(
        "BUFFER_MIN_CAPACITY_MS", "buffer.min_capacity_ms", _whole(100, 3000), "milliseconds from 100 to 3000",
        "The least buffer that any tier gives, in milliseconds.", "200",
    ),
    _Variable(
        "WS_MAX_CONNECTIONS", "edge.max_connections", _whole(1, 1_000_000), "a whole number from 1 to 1000000",
        "Listeners an edge takes; further ones get 503 with Retry-After.", "50",
    ),
    _Variable(
        "WS_RATE_LIMIT_CHUNKS_PER_SEC", "edge.rate_limit_chunks_per_s", _whole(11, 1000),
        "a whole number from 11 to 1000 (music takes 10 a second)",
        "Chunks sent to one listener per second at most, after a first burst.", "50",
    ),
    _Variable(
        "GPU_BATCH_SIZE", "synthesis.batch_size", _batch_size, "auto or a whole number from 1 to 1024",
        "Blocks rendered at once; `auto` measures the device.", "auto",
    ),
    _Variable(
        "GPU_ENABLE_COMPILE", "synthesis.enable_compile", _flag, _FLAG,
        "Compile the kernels where a compiler is there; `false` renders several times slower.", "true",
    ),
    _Variable(
        "METRICS_ENABLED", "metrics_enabled", _flag, _FLAG,
        "Whether `/metrics` answers.", "true",
    ),
    _Variable(
        "METRICS_PORT", "metrics_port", _whole(0, 65535), _PORT,
        "Internal port of a service (`/metrics /healthz /readyz /drain`); with `auralis up` the telemetry's. "
        "0: a free one.", "9090",
    ),
    _Variable(
        "AURALIS_PROMETHEUS_URL", "prometheus_url", _http_url, "http://host:port or https://host:port",
        "A Prometheus whose alerts the dashboard shows; without it telemetry judges the fleet itself.", "",
    ),
    _Variable(
        "AURALIS_TRACES", "traces", _one_of("off", "otlp", "console"), "off, otlp or console",
        "OpenTelemetry traces of blocks: `off`, `otlp` (to `OTEL_EXPORTER_OTLP_ENDPOINT`) or `console` (stderr).",
        "off",
    ),
    _Variable(
        "AURALIS_TRACES_SHARE", "traces_share", _share, "a number above 0 and at most 1",
        "Share of the blocks that are traced, the same ones in every service.", "0.01",
    ),
    _Variable(
        "NATS_URL", "nats.url", _nats_urls, "nats://host:port or tls://host:port, several with commas",
        "The bus. Several servers are separated by commas.", "nats://127.0.0.1:4222",
    ),
    _Variable("NATS_USER", "nats.user", _ANY, "a user", "User to sign in to the bus as.", ""),
    _Variable("NATS_PASSWORD", "nats.password", _ANY, "a password", "Its password.", "", secret=True),
    _Variable(
        "NATS_TOKEN", "nats.token", _ANY, "a token", "Token to sign in with, in place of a user.", "", secret=True
    ),
    _Variable(
        "NATS_CREDENTIALS_FILE", "nats.credentials_file", _existing_file, "a readable file",
        "A `.creds` file to sign in with, in place of a user.", "",
    ),
    _Variable(
        "NATS_TLS_CA_FILE", "nats.tls_ca_file", _existing_file, "a readable file of PEM certificates",
        "Certificates that the bus's certificate is checked against; switches TLS on.", "",
    ),
    _Variable(
        "AURALIS_MAX_STREAMS", "edge.max_streams", _whole(1, 100_000), "a whole number from 1 to 100000",
        "Different streams an edge holds at once; further ones are refused politely.", "128",
    ),
    _Variable(
        "AURALIS_TRUSTED_PROXIES", "edge.trusted_proxies", _networks, "IP addresses or networks, separated by commas",
        "Proxies whose X-Forwarded-For is believed: `10.0.0.0/8,127.0.0.1`.", "",
    ),
    _Variable(
        "AURALIS_ALLOWED_ORIGINS", "edge.allowed_origins", _origins,
        "'*' or origins such as https://radio.example, separated by commas",
        "Web pages that may connect; `*`: all of them.", "*",
    ),
    _Variable(
        "AURALIS_MAX_PER_IP", "edge.max_per_ip", _whole(0, 1_000_000), "a whole number from 0 to 1000000",
        "Listeners from one address at most; 0: no limit.", "0",
    ),
    _Variable(
        "AURALIS_JWT_KEY", "edge.jwt_key", _secret, "at least 16 characters",
        "Listeners must show a JWT signed with this key; empty: everybody may listen.", "", secret=True,
    ),
    _Variable(
        "AURALIS_JWT_AUDIENCE", "edge.jwt_audience", _ANY, "a text", "The audience that a JWT must be for.", "",
    ),
    _Variable(
        "AURALIS_SECRET", "edge.secret", _secret, "at least 16 characters",
        "Signs the tokens that resume a broken connection; the same on all edges, so that another edge takes them. "
        "Empty: a random one for this process.", "", secret=True,
    ),
    _Variable(
        "AURALIS_DRAIN_SECONDS", "edge.drain_s", _seconds, "seconds from 0 to 3600",
        "How long a stopping edge spreads its goodbyes over.", "30",
    ),
    _Variable(
        "AURALIS_KERNEL_CACHE", "synthesis.kernel_cache", _folder, "a folder (it is created where it does not exist)",
        "Folder of compiled kernels. Default: the user's cache folder.", "",
    ),
)  # fmt: skip

_BY_NAME: Final = {variable.name: variable for variable in _VARIABLES}
