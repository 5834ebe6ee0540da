"""Every port of every service, asked by strangers: nothing stays open, nothing is logged, nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import uvloop

from services.runtime.bus.memory import MemoryBroker, MemoryBus
from services.runtime.http import http_protocol
from services.runtime.http.server import EmbeddedServer, bind_socket
from services.runtime.process.service_process import ServiceProcess
from services.runtime.settings import Settings
from services.telemetry.app import create_app
from services.telemetry.service import TelemetryService
from tests.edge.playing import connect, hear_audio, playing, say
from tests.edge.support import Edge
from tests.support.strangers import UPGRADE_HEADERS, Visit, get, listening_for_lines, visit, visits
from tests.support.waiting import until

SETTINGS = Settings(port=0, metrics_port=0, instance="i1")
PORTS = ("edge", "edge, internal", "synthesis", "telemetry")


@contextlib.asynccontextmanager
async def worker_port(broker: MemoryBroker) -> AsyncIterator[int]:
    """The port of a worker's process, without the worker."""

    async def drain() -> None:
        pass

    process = ServiceProcess(SETTINGS, "synthesis", bus=MemoryBus(broker))
    await process.start(drain=drain)
    process.connect()
    try:
        assert process.internal_port is not None
        yield process.internal_port
    finally:
        await process.stop()


@contextlib.asynccontextmanager
async def telemetry_port(broker: MemoryBroker) -> AsyncIterator[int]:
    service = TelemetryService(SETTINGS, bus=MemoryBus(broker))
    await service.start()
    server = EmbeddedServer(create_app(service), bind_socket("127.0.0.1", 0), guard=service.guard, lifespan="off")
    await server.start()
    try:
        yield server.port
    finally:
        await server.stop(grace_s=1)
        await service.stop()


@contextlib.asynccontextmanager
async def all_ports(**edge_options: object) -> AsyncIterator[tuple[Edge, dict[str, int]]]:
    """An edge that plays, and the ports by name."""
    async with (
        playing(settings=SETTINGS, **edge_options) as (edge, _, broker),
        worker_port(broker) as worker,
        telemetry_port(broker) as telemetry,
    ):
        assert edge.service.internal_port is not None
        yield edge, dict(zip(PORTS, (edge.port, edge.service.internal_port, worker, telemetry), strict=True))


async def asked(port: int, request: bytes, within_s: float = 3.0) -> bytes:
    """The answer to a request, up to the end of the connection.

    Raises:
        TimeoutError: the connection stays open.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(within_s):
            return await reader.read()
    finally:
        writer.close()


def upgrade(*headers: bytes, path: bytes = b"/ws") -> bytes:
    return get(path, *UPGRADE_HEADERS, *headers)


UNREADABLE = {
    "content-length": (upgrade(b"Content-Length: 3"), 400),
    "content-length and body": (upgrade(b"Content-Length: 3") + b"abc", 400),
    "chunked": (upgrade(b"Transfer-Encoding: chunked"), 400),
    "chunked and body": (upgrade(b"Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n", 400),
    "header of 8,200 bytes": (upgrade(b"X: " + b"a" * 8200), 431),
    "129 headers": (upgrade(*(b"X-%d: a" % number for number in range(129))), 431),
    "token of 9,000 characters": (upgrade(path=b"/ws?token=" + b"a" * 9000), 414),
}


async def test_an_upgrade_that_the_library_cannot_parse_is_answered_and_closed() -> None:
    async with all_ports() as (edge, ports):
        for kind, (request, status) in UNREADABLE.items():
            for name, port in ports.items():
                assert (await asked(port, request)).startswith(b"HTTP/1.1 %d " % status), (kind, name)
        for port_label in ("public", "internal"):
            refused = edge.metric("auralis_http_refusals_total", port=port_label, reason="upgrade")
            assert refused == len(UNREADABLE)


HEADS = {
    "no host": (b"GET /healthz HTTP/1.1\r\n\r\n", 400),
    "two hosts": (get(b"/healthz", b"Host: 127.0.0.1"), 400),
    "two hosts, upgrade": (upgrade(b"Host: 127.0.0.1"), 400),
    "no host that can be": (b"GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    "66,000 bytes of headers together": (get(b"/healthz", *(b"X: " + b"a" * 1000 for _ in range(66))), 431),
    "66,000 bytes in one header": (get(b"/healthz", b"X: " + b"a" * 66_000), 431),
    "66,000 bytes of line": (get(b"/healthz?" + b"a" * 66_000), 414),
    "body of 70,000 bytes": (get(b"/healthz", b"Content-Length: 70000", method=b"POST"), 413),
    "no request": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
}


async def test_a_request_that_is_none_or_too_long_is_answered_and_closed() -> None:
    async with all_ports() as (_, ports):
        for kind, (request, status) in HEADS.items():
            for name, port in ports.items():
                assert (await asked(port, request)).startswith(b"HTTP/1.1 %d " % status), (kind, name)


async def test_a_websocket_on_a_wrong_path_gets_404_and_writes_no_line() -> None:
    async with all_ports() as (edge, ports), listening_for_lines() as lines:
        for path in (b"/", b"/nope", b"/healthz", b"/stream.mp3", b"/stream.opus", b"/record", b"/ws/x"):
            answer = await asked(ports["edge"], upgrade(path=path))
            assert answer.startswith(b"HTTP/1.1 404 "), path
            assert b"connect to /ws" in answer, path
        assert edge.service.hub.listeners == 0
        assert lines.texts() == []


async def test_a_refused_websocket_writes_no_line() -> None:
    async with all_ports(max_connections=1) as (edge, ports), connect(edge), listening_for_lines() as lines:
        assert (await asked(ports["edge"], upgrade())).startswith(b"HTTP/1.1 503 ")
        assert lines.texts() == []


async def test_63_kib_of_headers_are_taken() -> None:
    request = get(b"/healthz", *(b"X: " + b"a" * 1000 for _ in range(63)), b"Connection: close")
    async with all_ports() as (_, ports):
        for name, port in ports.items():
            assert (await asked(port, request)).startswith(b"HTTP/1.1 200 "), name


async def test_internal_ports_answer_to_no_name_of_a_stranger() -> None:
    async with all_ports() as (edge, ports):
        for name, port in ports.items():
            for path in (b"/metrics", b"/readyz", b"/drain", b"/api/fleet", b"/"):
                for method in (b"GET", b"POST"):
                    request = get(path, b"Connection: close", method=method, host=b"rebind.example:9090")
                    answer = await asked(port, request, 2)
                    assert answer.startswith(b"HTTP/1.1 421 ") is (name != "edge"), (name, answer)
        assert edge.service.health.ready


async def test_an_upgrade_that_is_never_finished_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "REQUEST_WITHIN_S", 0.3)
    async with all_ports() as (_, ports):
        for port in ports.values():
            for request in (
                b"",
                b"GET /ws HTTP/1.1\r\nHost: a\r\nUpg",
                get(b"/ws", b"Content-Length: 9", method=b"POST"),
            ):
                with contextlib.suppress(ConnectionError):
                    await asked(port, request, 2)


BEFORE = (b"/stream.mp3", b"/stream.opus", b"/api/events", b"/healthz")
BEHIND = (get(b"/healthz"), get(b"/stream.mp3"), get(b"/healthz") * 30, upgrade(), b"x" * 99)


def test_a_stranger_that_leaves_requests_behind_an_answer_writes_no_line_and_is_forgotten() -> None:
    async def leave() -> None:
        async with all_ports() as (edge, ports), listening_for_lines() as lines:
            for port in ports.values():
                for before in BEFORE:
                    for behind in BEHIND:
                        reader, writer = await asyncio.open_connection("127.0.0.1", port)
                        writer.write(get(before) + behind)
                        await reader.read(1000)
                        writer.transport.abort()
            await until(lambda: edge.service.hub.listeners == 0)
            # Time for a further chunk to be written to what was left.
            await asyncio.sleep(0.3)
            assert lines.texts() == []

    # The loop that services run on: it raises where asyncio's own would only log.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(leave())


async def strangers(count: int, seed: int) -> None:
    """Send `count` strangers to each port; the music goes on, and nothing is logged or left."""
    async with all_ports(max_connections=100) as (edge, ports), connect(edge) as good, listening_for_lines() as lines:
        await say(good, "start")
        await hear_audio(good, 5)
        heard: list[dict[str, Any]] = []

        async def hear_on() -> None:
            while True:
                heard.extend(await hear_audio(good, 1))

        hearing = asyncio.create_task(hear_on())
        tasks = len(asyncio.all_tasks())
        gate = asyncio.Semaphore(20)

        async def one(port: int, stranger: Visit) -> None:
            async with gate:
                await visit(port, stranger)

        for port in ports.values():
            await asyncio.gather(*(one(port, stranger) for stranger in visits(count, seed=seed)))
        await until(lambda: edge.service.hub.listeners == 1)
        # What strangers left open is closed after the pause that a connection may be idle for.
        await until(lambda: len(asyncio.all_tasks()) <= tasks, 8)
        for port in ports.values():
            assert (await asked(port, get(b"/healthz", b"Connection: close"))).startswith(b"HTTP/1.1 200 ")
        assert edge.metric("websocket_send_errors_total", error_type="exception") == 0
        count_heard = len(heard)
        await until(lambda: len(heard) > count_heard)
        hearing.cancel()
        assert lines.texts() == []


def run_strangers(count: int, seed: int) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(strangers(count, seed))


def test_no_stranger_writes_a_line_or_leaves_anything_behind() -> None:
    run_strangers(150, seed=1)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(10, 14))
def test_ten_thousand_strangers_write_no_line(seed: int) -> None:
    run_strangers(2500, seed)


@pytest.mark.parametrize("most_of", ["port", "address"])
async def test_connections_without_a_listener_are_bounded_and_the_oldest_goes(most_of: str) -> None:
    limits = {"max_pending": 8, "max_pending_per_ip": 99} if most_of == "port" else {"max_pending_per_ip": 8}
    reason = "pending" if most_of == "port" else "pending_address"
    async with playing(settings=replace(SETTINGS, **limits)) as (edge, _, _), connect(edge) as good:
        await say(good, "start")
        await hear_audio(good, 2)
        held = [await asyncio.open_connection("127.0.0.1", edge.port) for _ in range(20)]
        await until(lambda: edge.metric("auralis_http_refusals_total", port="public", reason=reason) == 12)
        assert edge.metric("auralis_pending_connections", port="public") == 8
        for reader, _ in held[:12]:
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 2) == b""
        # A listener finds its place, and the one that was there hears on.
        async with connect(edge) as late:
            await say(late, "start")
            await hear_audio(late, 2)
        await hear_audio(good, 2)
        for _, writer in held:
            writer.close()
        await until(lambda: edge.metric("auralis_pending_connections", port="public") == 0)


async def test_listeners_and_answers_are_not_pending() -> None:
    async with playing(settings=replace(SETTINGS, max_pending=4)) as (edge, _, _), contextlib.AsyncExitStack() as stack:
        for _ in range(6):
            await stack.enter_async_context(connect(edge))
            reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            stack.callback(writer.close)
            writer.write(get(b"/stream.mp3"))
            assert await reader.readuntil(b"\r\n\r\n")
        assert edge.service.hub.listeners == 12
        assert edge.metric("auralis_pending_connections", port="public") == 0
