"""What only a real server can do to a connection: be late, refuse, die, hang."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from services.contract import subjects
from services.runtime.bus import BusError
from services.runtime.bus.nats import connection
from tests.runtime.bus.conftest import fetching
from tests.runtime.bus.nats.conftest import Fleet
from tests.support.nats import NatsServer, credentials
from tests.support.waiting import until


async def test_connecting_waits_for_a_server_that_starts_later_and_says_what_is_missing(
    nats_server: NatsServer, fleet: Fleet, logged: list[dict[str, Any]]
) -> None:
    nats_server.kill()
    bus = fleet.bus(nats_server.url)
    connecting = asyncio.create_task(bus.connect())
    await until(lambda: any(entry["event"] == "bus away" for entry in logged))
    assert not connecting.done()
    assert not bus.connected
    await asyncio.to_thread(nats_server.start)
    await asyncio.wait_for(connecting, 10)
    assert bus.connected
    (complaint, *more) = [entry for entry in logged if entry["event"] == "bus away"]
    assert f"cannot reach {nats_server.url}" in complaint["detail"]
    assert "NATS_URL" in complaint["detail"]
    assert not more, "repeats are held back"


async def test_closing_ends_a_connect_that_still_waits(
    nats_server: NatsServer, fleet: Fleet, logged: list[dict[str, Any]]
) -> None:
    nats_server.kill()
    bus = fleet.bus(nats_server.url)
    connecting = asyncio.create_task(bus.connect())
    await until(lambda: any(entry["event"] == "bus away" for entry in logged))
    await bus.close()
    with pytest.raises(BusError, match="closed before it was connected"):
        await asyncio.wait_for(connecting, 5)
    with pytest.raises(BusError, match="closed"):
        await bus.connect()


async def test_the_second_of_two_addresses_is_tried_when_the_first_is_dead(
    nats_server: NatsServer, fleet: Fleet
) -> None:
    bus = fleet.bus(f"nats://127.0.0.1:1,{nats_server.url}")
    await asyncio.wait_for(bus.connect(), 10)
    assert bus.connected


async def test_user_and_password_are_needed_and_never_logged(fleet: Fleet, logged: list[dict[str, Any]]) -> None:
    server = NatsServer('authorization { user: "auralis", password: "a-good-password" }')
    server.start()
    try:
        good = fleet.bus(server.url, user="auralis", password="a-good-password")
        await asyncio.wait_for(good.connect(), 10)
        in_url = fleet.bus(server.url.replace("//", "//auralis:a-good-password@"))
        await asyncio.wait_for(in_url.connect(), 10)
        bad = fleet.bus(server.url.replace("//", "//auralis:a-bad-password@"))
        connecting = asyncio.create_task(bad.connect())
        await until(lambda: any(entry["event"] == "bus away" for entry in logged))
        connecting.cancel()
        complaint = next(entry for entry in logged if entry["event"] == "bus away")
        assert "refused the sign-in" in complaint["detail"]
        assert "NATS_PASSWORD" in complaint["detail"]
        assert "password@" not in repr(logged)
        assert "good-password" not in repr(good._connection._settings)
        await asyncio.wait({connecting})
        await bad.close()
    finally:
        for bus in fleet.buses:
            await bus.close()
        server.stop()


async def test_a_token_signs_in(fleet: Fleet) -> None:
    server = NatsServer('authorization { token: "a-good-token" }')
    server.start()
    try:
        bus = fleet.bus(server.url, token="a-good-token")
        await asyncio.wait_for(bus.connect(), 10)
        assert bus.connected
        await bus.close()
    finally:
        server.stop()


async def test_a_credentials_file_signs_in(fleet: Fleet, tmp_path: Path) -> None:
    config, path = credentials(tmp_path)
    server = NatsServer(config)
    server.start()
    try:
        bus = fleet.bus(server.url, credentials_file=str(path))
        await asyncio.wait_for(bus.connect(), 10)
        assert await bus.ask(subjects.render("r", "now", "s", 7), b"job", message_id="1")
        await bus.close()
    finally:
        server.stop()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
async def test_a_server_with_tls_is_checked_against_the_given_certificates(
    fleet: Fleet, tmp_path: Path, logged: list[dict[str, Any]]
) -> None:
    subprocess.run(  # noqa: ASYNC221 - a fixed command that takes milliseconds
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"),
        ],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    server = NatsServer(f'tls {{ cert_file: "{tmp_path}/cert.pem", key_file: "{tmp_path}/key.pem" }}')
    server.start()
    try:
        trusting = fleet.bus(server.url.replace("nats://", "tls://"), tls_ca_file=str(tmp_path / "cert.pem"))
        await asyncio.wait_for(trusting.connect(), 10)
        assert trusting.connected
        doubting = fleet.bus(server.url.replace("nats://", "tls://"))
        connecting = asyncio.create_task(doubting.connect())
        await until(lambda: any(entry["event"] == "bus away" for entry in logged))
        assert "NATS_TLS_CA_FILE" in next(entry for entry in logged if entry["event"] == "bus away")["detail"]
        connecting.cancel()
        await asyncio.wait({connecting})
        for bus in (trusting, doubting):
            await bus.close()
    finally:
        server.stop()


async def test_a_killed_server_is_noticed_at_once_and_a_fetch_just_waits(nats_server: NatsServer, fleet: Fleet) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    source = await bus.jobs("now-r", subjects.render_filter("r", "now"))
    waiting = asyncio.create_task(source.fetch(8, 30.0))
    await fetching(source)
    nats_server.kill()
    await until(lambda: not bus.connected, 2.0)
    with pytest.raises(BusError, match="away"):
        await bus.publish("x", b"1")
    with pytest.raises(BusError, match="away"):
        await bus.count_failure("b", "k", ttl_s=1)
    with pytest.raises(BusError, match="away"):
        [message async for message in bus.gather("x", b"", wait_s=0.1)]
    assert await bus.history(subjects.audio("s")) == ()
    assert not await source.fetch(8, 0)
    assert not waiting.done()
    await asyncio.to_thread(nats_server.start)
    await until(lambda: bus.connected)
    assert await bus.ask(subjects.render("r", "now", "s", 7), b"job", message_id="1")
    assert [job.data for job in await asyncio.wait_for(waiting, 5)] == [b"job"]


async def test_the_connection_survives_many_restarts(nats_server: NatsServer, fleet: Fleet) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    heard: list[bytes] = []
    await bus.subscribe("song", lambda message: heard.append(message.data))
    for number in range(4):
        await asyncio.to_thread(nats_server.restart)
        await until(lambda: not bus.connected, 2.0) if bus.connected and number % 2 else None
        async with asyncio.timeout(10):
            while True:
                try:
                    await bus.publish("song", b"%d" % number)
                    await until(lambda number=number: b"%d" % number in heard, 0.5)  # type: ignore[misc]
                    break
                except (BusError, AssertionError):
                    # The connection has not been noticed as lost, or is not back: there is nothing else to look at.
                    await asyncio.sleep(0.02)
    assert sorted(set(heard)) == [b"0", b"1", b"2", b"3"]


async def test_a_server_that_hangs_is_given_up_and_taken_up_again(
    nats_server: NatsServer, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PING_INTERVAL_S", 0.15)
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    nats_server.pause()
    try:
        await until(lambda: not bus.connected, 3.0)
    finally:
        nats_server.resume()
    await until(lambda: bus.connected, 10.0)


async def test_a_read_loop_that_ends_by_itself_is_noticed(nats_server: NatsServer, fleet: Fleet) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    reconnected = asyncio.Event()
    bus.on_reconnect(reconnected.set)
    client = bus._connection.client
    assert client is not None
    assert client._reading_task is not None
    client._reading_task.cancel()
    await asyncio.wait_for(reconnected.wait(), 5)
    assert bus._connection.client is not client
    assert await bus.ask(subjects.render("r", "now", "s", 7), b"job", message_id="1")


async def test_a_reconnect_callback_that_raises_does_not_stop_the_others(nats_server: NatsServer, fleet: Fleet) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    reconnected = asyncio.Event()

    def bad() -> None:
        raise ValueError("a bad callback")

    bus.on_reconnect(bad)
    bus.on_reconnect(reconnected.set)
    await asyncio.to_thread(nats_server.restart)
    await asyncio.wait_for(reconnected.wait(), 10)
    assert bus.connected
    assert bus._messaging.metrics.callback_errors._value.get() == 1
