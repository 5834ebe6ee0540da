from __future__ import annotations

import asyncio
import signal
import socket
from typing import Any

import httpx
import pytest
import uvloop

from services.runtime.http.server import ACCEPTED_AT_ONCE, EmbeddedServer, PortInUseError, bind_socket


async def hello(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def test_port_0_binds_a_free_port() -> None:
    with bind_socket("127.0.0.1", 0) as one, bind_socket("127.0.0.1", 0) as two:
        assert one.getsockname()[1] != two.getsockname()[1] != 0


def test_a_port_in_use_is_a_sentence_that_names_the_port_and_the_setting() -> None:
    with bind_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError) as caught:
            bind_socket("127.0.0.1", port, setting="METRICS_PORT")
    assert str(caught.value) == (
        f"port {port} on 127.0.0.1 is in use; stop the program that has it or set METRICS_PORT"
    )
    assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)


def test_a_host_that_is_no_address_here_is_a_sentence() -> None:
    with pytest.raises(PortInUseError, match=r"192\.0\.2\.1 is not an address of this machine"):
        bind_socket("192.0.2.1", 0)
    with pytest.raises(PortInUseError, match="no-such-host"):
        bind_socket("no-such-host.invalid", 0)


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_an_ipv6_address_is_bound() -> None:
    try:
        bound = bind_socket("::1", 0)
    except PortInUseError as error:
        pytest.skip(f"this machine has no IPv6 loopback: {error}")
    with bound:
        assert bound.family == socket.AF_INET6


async def test_start_returns_when_requests_are_answered_and_stop_frees_the_port() -> None:
    server = EmbeddedServer(hello, bind_socket("127.0.0.1", 0), lifespan="off")
    await server.start()
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://127.0.0.1:{server.port}/")).text == "hello"
    await server.stop()
    await server.stop()
    bind_socket("127.0.0.1", server.port).close()


async def test_a_server_that_never_started_frees_its_port() -> None:
    server = EmbeddedServer(hello, bind_socket("127.0.0.1", 0), lifespan="off")
    await server.stop()
    bind_socket("127.0.0.1", server.port).close()


async def test_signals_are_left_to_the_lifecycle() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    server = EmbeddedServer(hello, bind_socket("127.0.0.1", 0), lifespan="off")
    await server.start()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    await server.stop()


async def test_an_application_that_does_not_start_is_an_error_and_not_the_end_of_the_process() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    server = EmbeddedServer(broken, bind_socket("127.0.0.1", 0), lifespan="on")
    with pytest.raises(RuntimeError, match=f"port {server.port} ended while starting"):
        await server.start()
    bind_socket("127.0.0.1", server.port).close()


async def test_a_request_under_way_is_given_time_and_then_cancelled() -> None:
    entered = asyncio.Event()

    async def endless(scope: Any, _receive: Any, _send: Any) -> None:
        assert scope["type"] == "http"
        entered.set()
        await asyncio.sleep(60)

    server = EmbeddedServer(endless, bind_socket("127.0.0.1", 0), lifespan="off")
    await server.start()
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        request = asyncio.create_task(client.get(f"http://127.0.0.1:{server.port}/"))
        await asyncio.wait_for(entered.wait(), 5)
        async with asyncio.timeout(10):
            await server.stop(grace_s=1)
        with pytest.raises(httpx.HTTPError):
            (await request).raise_for_status()


def test_a_crowd_at_the_door_is_let_in_within_a_few_turns_of_the_loop() -> None:
    crowd = 4 * ACCEPTED_AT_ONCE

    async def turns_for_the_crowd() -> int:
        server = EmbeddedServer(hello, bind_socket("127.0.0.1", 0), lifespan="off")
        await server.start()
        links = []
        try:
            for _ in range(crowd):
                # The kernel answers: they wait at the door.
                link = socket.create_connection(("127.0.0.1", server.port), 2)
                links.append(link)
            turns = 0
            while len(server._server.server_state.connections) < crowd:
                await asyncio.sleep(0)
                turns += 1
            return turns
        finally:
            for link in links:
                link.close()
            await server.stop()

    # asyncio's own loop takes all at once; the one that services run on takes one of each socket.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(turns_for_the_crowd()) <= crowd // ACCEPTED_AT_ONCE + 4
