"""A real edge behind nginx, with the settings of the chart's annotations."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.client import Client
from services.local.ports import free_ports
from services.runtime.bus.memory import MemoryBroker
from tests.charts.support import render
from tests.edge.support import Edge, TinyRenderer, running_edge
from tests.support.waiting import until

CONFIG = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{edge_port};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            {settings}
        }}
    }}
}}
"""
"""The relevant part of the configuration that the nginx ingress controller makes of an Ingress."""


def settings(seconds: int) -> str:
    """The settings of nginx that the annotations of the chart's Ingress stand for."""
    values = {"edge": {"ingress": {"enabled": True, "timeoutSeconds": seconds}}}
    annotations = render(values).one("Ingress", "auralis-edge")["metadata"]["annotations"]
    prefix = "nginx.ingress.kubernetes.io/"
    names = {name.removeprefix(prefix): text for name, text in annotations.items() if name.startswith(prefix)}
    assert set(names) == {"proxy-read-timeout", "proxy-send-timeout", "proxy-buffering"}
    return " ".join(
        f"{name.replace('-', '_')} {text}{'s' if name.endswith('timeout') else ''};" for name, text in names.items()
    )


@contextlib.contextmanager
def nginx(folder: Path, edge_port: int, directives: str) -> Iterator[int]:
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("nginx is not on PATH (Debian: nginx-light)")
    (port,) = free_ports(1)
    file = folder / "nginx.conf"
    file.write_text(CONFIG.format(folder=folder, port=port, edge_port=edge_port, settings=directives))
    with subprocess.Popen([program, "-c", str(file)], stderr=subprocess.PIPE, text=True) as process:
        try:
            for _ in range(200):
                assert process.poll() is None, process.stderr and process.stderr.read()
                with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1):
                    break
            yield port
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    broker = MemoryBroker()
    renderer = TinyRenderer(broker)
    await renderer.start()
    async with running_edge(broker, trusted_proxies=("127.0.0.1",)) as running:
        await until(lambda: running.service.health.ready)
        yield running
    await renderer.stop()


@contextlib.asynccontextmanager
async def proxied(folder: Path, edge: Edge, directives: str) -> AsyncIterator[int]:
    """nginx in front of the edge; it starts in a thread, because the edge runs in this event loop."""
    manager = nginx(folder, edge.port, directives)
    port = await asyncio.to_thread(manager.__enter__)
    try:
        yield port
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


async def test_sound_passes_without_gap_and_without_delay(edge: Edge, tmp_path: Path) -> None:
    async with (
        proxied(tmp_path, edge, settings(3600)) as port,
        asyncio.timeout(15),
        Client(f"ws://127.0.0.1:{port}/ws") as client,
    ):
        ids = []
        async for chunk in client:
            ids.append(chunk.chunk_id)
            if len(ids) == 30:
                break
        summary = client.arrivals.summary()
    assert ids == list(range(ids[0], ids[0] + 30))
    assert (summary.gaps, summary.underruns, summary.reconnects) == (0, 0, 0)
    assert summary.first_audio_ms is not None
    assert summary.first_audio_ms < 2000


async def test_an_http_stream_is_not_buffered(edge: Edge, tmp_path: Path) -> None:
    async with proxied(tmp_path, edge, settings(3600)) as port, asyncio.timeout(15):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /stream.mp3 HTTP/1.0\r\nHost: auralis.example\r\n\r\n")
        got, pieces = 0, 0
        while got < 40_000:
            data = await reader.read(65536)
            assert data, "the stream ended"
            got += len(data)
            pieces += 1
        writer.close()
    # With buffering nginx would collect 40 kB of the 16 kB/s and send a few large pieces.
    assert pieces >= 8


async def upgrade(port: int, address: str = "127.0.0.1") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A new WebSocket from `address`, without a message yet."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: auralis.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert b" 101 " in await reader.readline()
    return reader, writer


async def test_the_edge_learns_the_address_of_the_listener(edge: Edge, tmp_path: Path) -> None:
    async with proxied(tmp_path, edge, settings(3600)) as port:
        _, writer = await upgrade(port, "127.0.0.7")
        (connection,) = edge.service.hub.connections
        assert connection.address == "127.0.0.7"
        writer.close()


async def test_a_time_out_shorter_than_a_silence_ends_a_stream(edge: Edge, tmp_path: Path) -> None:
    # A stopped listener neither sends nor receives; the time-out closes its connection, so it must be long.
    async with proxied(tmp_path, edge, settings(1)) as port:
        reader, writer = await upgrade(port)
        async with asyncio.timeout(10):
            while await reader.read(4096):
                pass
        writer.close()
