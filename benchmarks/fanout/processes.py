"""Processes of the benchmark, and their processor time and memory."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent
REPO = HERE.parents[1]
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
LISTEN_WITHIN_S = 30.0
"""How long a server may take to listen."""


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_s(pid: int) -> float:
    """User and system time of a process with all its threads, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def memory_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


@contextlib.contextmanager
def running(
    command: Sequence[str | Path], *, port: int | None = None, environ: Mapping[str, str] | None = None, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process for the time of a `with` block.

    Args:
        command: program and arguments.
        port: wait until the process listens there; None: do not wait.
        environ: variables in addition to this process's own.
        log: file for its output.

    Raises:
        RuntimeError: it ended, or did not listen within `LISTEN_WITHIN_S`.
    """
    paths = {"PYTHONPATH": str(REPO)}
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603 - our own commands
            [str(part) for part in command], stdout=out, stderr=out, env={**os.environ, **paths, **(environ or {})}
        )
    try:
        until_s = time.monotonic() + LISTEN_WITHIN_S
        while port is not None:
            if process.poll() is not None or time.monotonic() > until_s:
                raise RuntimeError(f"{command[0]} does not listen on port {port}: {log.read_text()[-600:]}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def compiled(source: str, folder: Path) -> Path:
    """Compile a C program of this folder; returns the program.

    Raises:
        RuntimeError: there is no compiler, or the program does not compile.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise RuntimeError("no C compiler on PATH (apt install gcc)")
    program = folder / source.removesuffix(".c")
    made = subprocess.run(  # noqa: S603 - our own source
        [compiler, "-O2", "-o", str(program), str(HERE / source)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        raise RuntimeError(f"{source} does not compile: {made.stderr[-600:]}")
    return program


def python(*arguments: str | Path) -> list[str | Path]:
    """A command that runs this interpreter."""
    return [sys.executable, *arguments]


class Listeners:
    """Runs listeners.c: connections that discard what they receive.

    Args:
        program: the compiled listeners.c.
        port: of the server.
        count: number of connections.
        request: what each connection sends first.
        second: what each sends after the first answer; empty: nothing.
        folder: for files.
    """

    def __init__(self, program: Path, *, port: int, count: int, request: bytes, second: bytes, folder: Path) -> None:
        arguments: list[str] = []
        for name, data in (("request", request), ("second", second)):
            if data:
                path = folder / name
                path.write_bytes(data)
                arguments.append(str(path))
        log = folder / "listeners.log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [str(program), str(port), str(count), *arguments], stdin=subprocess.PIPE, stdout=out
            )
        # Opened anew for reading: a shared file would have one position for reading and writing.
        self._lines = log.open("rb")

    def totals(self) -> tuple[int, int]:
        """(connections that have received something, bytes received) so far.

        Raises:
            RuntimeError: the process has ended.
        """
        if self._process.poll() is not None:
            raise RuntimeError(f"the listeners' process ended with {self._process.returncode}")
        size = self._lines.seek(0, os.SEEK_END)
        self._lines.seek(max(0, size - 200))
        lines = self._lines.read().split(b"\n")[:-1]
        if not lines:
            return 0, 0
        connections, received, _ = lines[-1].split()
        return int(connections), int(received)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._lines.close()


def websocket_request(port: int, path: str = "/ws", protocol: str = "") -> bytes:
    """An upgrade request of a WebSocket client."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
    ]
    if protocol:
        lines.append(f"Sec-WebSocket-Protocol: {protocol}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def masked_text(body: object) -> bytes:
    """A client's text frame that carries `body` as JSON."""
    payload = json.dumps(body).encode()
    mask = b"\x01\x02\x03\x04"
    header = bytes((0x81, 0x80 | len(payload))) if len(payload) < 126 else b"\x81\xfe" + len(payload).to_bytes(2)
    return header + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
