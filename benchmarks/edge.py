"""Processor time per message and listener: Auralis beside a C program, frameworks, and other servers.

    make bench-edge                                        (everything; about ten minutes on two cores)
    .venv/bin/python benchmarks/edge.py --only auralis,writev --listeners 400

Each server is a process of its own on loopback and sends every listener a message each 100 ms; one C program makes the
listeners of all servers. The figure is the server's processor time (user and system) per message that arrived. Prints
one table with ratios to the C program, then a JSON line per row with the commit and the machine. A server that is not
installed is named, with the reason.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.fanout import icecast
from benchmarks.fanout.processes import (
    HERE,
    Listeners,
    compiled,
    cpu_s,
    free_port,
    masked_text,
    memory_bytes,
    python,
    running,
    websocket_request,
)

LARGE, SMALL = 23_600, 1_600
"""Bytes of a message: PCM as JSON, and Opus."""
WARM_UP_S = 6.0
"""Time between the last connection and the measurement."""
HISTORY_S = 21.0
"""How long a stream's history takes to fill."""
CONNECT_WITHIN_S = 120.0
"""How long all listeners may take to connect."""
READY_WITHIN_S = 30.0
"""How long the edge may take to hear of a renderer."""


@dataclass(frozen=True)
class Target:
    """A running server.

    Attributes:
        port, pid: of the server.
        request, second: see `Listeners`.
        message_bytes: bytes of a message on the wire, with its framing.
        metrics_port: of its own metrics; 0: it has none.
    """

    port: int
    pid: int
    request: bytes
    second: bytes
    message_bytes: int
    metrics_port: int = 0


@dataclass
class Row:
    """One measurement."""

    server: str
    message_bytes: int
    listeners: int
    cpu_us_per_message: float
    ratio_to_c: float | None
    core_percent: float
    delivered_percent: float
    p99_lateness_ms: float | None
    memory_kb_per_listener: float


Server = Callable[[Path, int, int], contextlib.AbstractContextManager[Target]]
"""(folder, message bytes, listeners) -> the running server."""


@contextlib.contextmanager
def writev(folder: Path, size: int, _: int) -> Iterator[Target]:
    """The lower limit: writev in a loop."""
    program, port = compiled("writev.c", folder), free_port()
    with running([program, str(port), str(size)], port=port, log=folder / "server.log") as process:
        yield Target(port, process.pid, b"GET / HTTP/1.1\r\n\r\n", b"", size + 4)


@contextlib.contextmanager
def auralis(folder: Path, size: int, listeners: int) -> Iterator[Target]:
    """A real edge with a real NATS server; its music comes from a renderer without cost."""
    from services.local.processes import nats_server  # noqa: PLC0415 - only this server needs it

    port, metrics_port = free_port(), free_port()
    environ = {
        "AURALIS_PORT": str(port), "METRICS_PORT": str(metrics_port), "WS_MAX_CONNECTIONS": str(listeners + 10),
        "AURALIS_LOG_FORMAT": "json", "AURALIS_LOG_LEVEL": "WARNING",
    }  # fmt: skip
    with nats_server.running() as nats:
        environ["NATS_URL"] = nats.url
        with (
            running(python(HERE / "tone.py", nats.url), log=folder / "tone.log"),
            running(python("-m", "services.edge"), port=port, environ=environ, log=folder / "server.log") as process,
        ):
            start = {"type": "control", "action": "start", "params": {}}
            request = websocket_request(port, protocol="auralis.opus.v1" if size == SMALL else "")
            # Opus packets vary in size: messages are counted by the edge's own metrics.
            yield Target(port, process.pid, request, masked_text(start), 0, metrics_port)


@contextlib.contextmanager
def _app(kind: str, folder: Path, size: int, _: int) -> Iterator[Target]:
    port = free_port()
    command = python(HERE / "apps.py", kind, str(port), str(size))
    with running(command, port=port, log=folder / "server.log") as process:
        yield Target(port, process.pid, websocket_request(port), b"", size + 4)


def litestar(folder: Path, size: int, listeners: int) -> contextlib.AbstractContextManager[Target]:
    """`send_data` for each client."""
    return _app("litestar", folder, size, listeners)


def fastapi(folder: Path, size: int, listeners: int) -> contextlib.AbstractContextManager[Target]:
    """`send_json` for each client."""
    return _app("fastapi", folder, size, listeners)


@contextlib.contextmanager
def icecast2(folder: Path, size: int, _: int) -> Iterator[Target]:
    """Icecast at the same bitrate; a message is the same number of bytes."""
    program = shutil.which("icecast2")
    if program is None:
        raise RuntimeError("not installed (apt install icecast2)")
    port = free_port()
    settings = folder / "icecast.xml"
    settings.write_text(icecast.config(port, folder, size * 10))
    folder.chmod(0o777)
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    feed = python(HERE / "icecast.py", "source", str(port), str(size * 10))
    with (
        running([*user, program, "-c", settings], port=port, log=folder / "server.log") as process,
        running(feed, log=folder / "source.log"),
    ):
        time.sleep(0.5)
        yield Target(port, process.pid, b"GET /music HTTP/1.1\r\nHost: localhost\r\n\r\n", b"", size)


@contextlib.contextmanager
def centrifuge(folder: Path, size: int, _: int) -> Iterator[Target]:
    """The library that Centrifugo is built on, with one channel for all."""
    go = shutil.which("go")
    if go is None:
        raise RuntimeError("no go on PATH")
    program = Path(tempfile.gettempdir()) / f"auralis-bench-centrifuge-{os.getuid()}"
    if not program.exists():
        made = subprocess.run(  # noqa: S603 - our own source
            [go, "build", "-o", str(program), "."], cwd=HERE / "centrifuge", capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise RuntimeError(f"go build: {made.stderr.strip()[-300:]}")
    port = free_port()
    with running([program, str(port), str(size)], port=port, log=folder / "server.log") as process:
        # Its envelope is {"push":{"channel":"music","pub":{"data":…}}}, after a frame header of four bytes.
        yield Target(
            port, process.pid, websocket_request(port, "/"), masked_text({"id": 1, "connect": {}}), size + 46 + 4
        )


SERVERS: dict[str, Server] = {
    "writev": writev,
    "auralis": auralis,
    "litestar": litestar,
    "fastapi": fastapi,
    "icecast": icecast2,
    "centrifuge": centrifuge,
}


def _exposition(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def _sample(text: str, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found.group(1)) if found else 0.0


def _lateness(text: str) -> dict[float, float]:
    """The edge's histogram of lateness: bound in ms -> number of writes that were at most this late."""
    pattern = r'^chunk_delivery_jitter_ms_bucket\{le="([^"]+)"\} (\S+)$'
    return {float(bound): float(count) for bound, count in re.findall(pattern, text, re.MULTILINE)}


def _p99(before: dict[float, float], after: dict[float, float]) -> float | None:
    """The p99 in ms of the counts between two histograms, interpolated as Prometheus does; None without counts."""
    counts = {bound: count - before.get(bound, 0.0) for bound, count in sorted(after.items())}
    total = max(counts.values(), default=0.0)
    low_ms, low = 0.0, 0.0
    for bound_ms, count in counts.items():
        if total and count >= 0.99 * total:
            if bound_ms == float("inf"):
                return low_ms
            return round(low_ms + (bound_ms - low_ms) * (0.99 * total - low) / (count - low), 1)
        low_ms, low = bound_ms, count
    return None


def measure(name: str, size: int, count: int, seconds: float, program: Path) -> Row:
    """Measure one server.

    Args:
        name: of the server.
        size: bytes of a message.
        count: number of listeners.
        seconds: length of the measurement.
        program: the compiled listeners.c.

    Raises:
        RuntimeError, OSError: the server cannot be measured; the message says why.
    """
    with tempfile.TemporaryDirectory(prefix="auralis-bench-") as name_of_folder:
        folder = Path(name_of_folder)
        with SERVERS[name](folder, size, count) as target:
            if name == "auralis":
                _wait_ready(target.metrics_port)
                _fill_history(program, target, folder)
            idle_bytes = memory_bytes(target.pid)
            listeners = Listeners(
                program,
                port=target.port,
                count=count,
                request=target.request,
                second=target.second,
                folder=folder,
            )
            try:
                _wait_connected(listeners, count)
                time.sleep(WARM_UP_S)
                text = _exposition(target.metrics_port) if target.metrics_port else ""
                began, cpu, (_, received) = time.monotonic(), cpu_s(target.pid), listeners.totals()
                time.sleep(seconds)
                cpu, passed = cpu_s(target.pid) - cpu, time.monotonic() - began
                connections, total = listeners.totals()
                received = total - received
                held_bytes = memory_bytes(target.pid) - idle_bytes
                later = _exposition(target.metrics_port) if target.metrics_port else ""
            finally:
                listeners.close()
    if connections != count:
        raise RuntimeError(f"{count - connections} of {count} listeners lost their connection")
    if target.metrics_port:
        messages = _sample(later, "auralis_messages_sent_total") - _sample(text, "auralis_messages_sent_total")
    else:
        messages = received / target.message_bytes
    if messages < 1:
        raise RuntimeError("nothing arrived")
    return Row(
        server=name,
        message_bytes=size,
        listeners=count,
        cpu_us_per_message=round(cpu / messages * 1e6, 2),
        ratio_to_c=None,
        core_percent=round(100 * cpu / passed, 1),
        delivered_percent=round(100 * messages / (passed * 10 * count), 1),
        p99_lateness_ms=_p99(_lateness(text), _lateness(later)),
        memory_kb_per_listener=round(held_bytes / count / 1000, 1),
    )


def _wait_ready(port: int) -> None:
    until_s = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError):
            if _sample(_exposition(port), "auralis_ready_renderers") >= 1:
                return
        time.sleep(0.1)
    raise RuntimeError(f"the edge heard of no renderer within {READY_WITHIN_S:.0f} s")


def _fill_history(program: Path, target: Target, folder: Path) -> None:
    """Connect one listener until the stream's history is full, so that its memory does not count as the listeners'."""
    options = {"request": target.request, "second": target.second, "folder": folder}
    first = Listeners(program, port=target.port, count=1, **options)
    time.sleep(HISTORY_S)
    first.close()


def _wait_connected(listeners: Listeners, count: int) -> None:
    until_s = time.monotonic() + CONNECT_WITHIN_S
    while listeners.totals()[0] < count:
        if time.monotonic() > until_s:
            raise RuntimeError(
                f"{listeners.totals()[0]} of {count} listeners connected within {CONNECT_WITHIN_S:.0f} s"
            )
        time.sleep(0.1)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(SERVERS), help="servers, with commas")
    parser.add_argument("--listeners", default="400,4000")
    parser.add_argument("--sizes", default=f"{LARGE},{SMALL}", help="bytes of a message; 1600 is Opus for Auralis")
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    rows: list[Row] = []
    missing: list[str] = []
    with tempfile.TemporaryDirectory(prefix="auralis-bench-") as folder:
        program = compiled("listeners.c", Path(folder))
        for size in map(int, options.sizes.split(",")):
            for listeners in map(int, options.listeners.split(",")):
                limit: float | None = None
                for name in options.only.split(","):
                    try:
                        row = measure(name, size, listeners, options.seconds, program)
                    except (RuntimeError, OSError) as error:
                        missing.append(f"{name}, {size} B, {listeners} listeners: {error}")
                        print(f"missing: {missing[-1]}", file=sys.stderr, flush=True)
                        continue
                    limit = row.cpu_us_per_message if name == "writev" else limit
                    row.ratio_to_c = None if not limit else round(row.cpu_us_per_message / limit, 2)
                    rows.append(row)
                    # Printed at once, so that an interrupted run keeps its rows.
                    print(json.dumps(asdict(row)), file=sys.stderr, flush=True)
    _print(rows, missing)


def _print(rows: list[Row], missing: list[str]) -> None:
    print(
        f"{'server':12} {'bytes':>7} {'listeners':>9} {'us/message':>11} {'x C':>7} {'core %':>7} {'delivered %':>11}"
        f" {'p99 late ms':>11} {'KB/listener':>11}"
    )
    for row in rows:
        ratio = "" if row.ratio_to_c is None else f"{row.ratio_to_c:.2f}"
        late = "" if row.p99_lateness_ms is None else f"{row.p99_lateness_ms:g}"
        print(
            f"{row.server:12} {row.message_bytes:7} {row.listeners:9} {row.cpu_us_per_message:11.2f} {ratio:>7}"
            f" {row.core_percent:7.1f} {row.delivered_percent:11.1f} {late:>11} {row.memory_kb_per_listener:11.1f}"
        )
    for line in missing:
        print(f"missing: {line}")
    print("missing: centrifugo itself; the library that does its broadcast stands for it (centrifuge)")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - git from PATH, for a label
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    machine = {"commit": commit, "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    for row in rows:
        print(json.dumps({**asdict(row), **machine}))


if __name__ == "__main__":
    main()
