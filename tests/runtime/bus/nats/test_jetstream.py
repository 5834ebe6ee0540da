"""Streams on a real server: made once, changed, made smaller, lost and made again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats.aio.client import Client

from services.contract import subjects
from services.runtime.bus import BusError
from services.runtime.bus.limits import MIB
from tests.runtime.bus.conftest import stored
from tests.runtime.bus.nats.conftest import BLOCK, Fleet, api
from tests.support.nats import NatsServer
from tests.support.waiting import until


async def test_processes_that_start_together_make_each_stream_once(
    nats_server: NatsServer, fleet: Fleet, admin: Client
) -> None:
    await asyncio.wait_for(asyncio.gather(*(fleet.bus(nats_server.url).connect() for _ in range(8))), 20)
    render = (await api(admin, "STREAM.INFO.RENDER"))["config"]
    audio = (await api(admin, "STREAM.INFO.AUDIO"))["config"]
    names = (
        "subjects", "storage", "retention", "discard", "max_bytes", "max_msgs_per_subject", "discard_new_per_subject",
    )  # fmt: skip
    assert {name: render[name] for name in names} == {
        "subjects": ["auralis.render.>"],
        "storage": "memory",
        "retention": "workqueue",
        "discard": "new",
        "max_bytes": 16 * MIB,
        "max_msgs_per_subject": 1,
        "discard_new_per_subject": True,
    }
    assert render["max_age"] == render["duplicate_window"] == 5_000_000_000
    assert {name: audio[name] for name in ("subjects", "storage", "discard", "max_bytes", "max_msgs_per_subject")} == {
        "subjects": ["auralis.audio.>"],
        "storage": "memory",
        "discard": "old",
        "max_bytes": 1024 * MIB,
        "max_msgs_per_subject": 20,
    }
    assert audio["allow_direct"]


async def test_a_stream_of_another_build_is_changed_to_what_this_one_wants(
    nats_server: NatsServer, fleet: Fleet, admin: Client
) -> None:
    await api(
        admin,
        "STREAM.CREATE.AUDIO",
        {"name": "AUDIO", "subjects": ["auralis.audio.>"], "storage": "memory", "max_msgs_per_subject": 5},
    )
    await asyncio.wait_for(fleet.bus(nats_server.url).connect(), 10)
    assert (await api(admin, "STREAM.INFO.AUDIO"))["config"]["max_msgs_per_subject"] == 20


async def test_a_stream_that_cannot_be_changed_is_named_with_what_to_do(
    nats_server: NatsServer, fleet: Fleet, admin: Client, logged: list[dict[str, Any]]
) -> None:
    await api(admin, "STREAM.CREATE.RENDER", {"name": "RENDER", "subjects": ["auralis.render.>"], "storage": "file"})
    bus = fleet.bus(nats_server.url)
    connecting = asyncio.create_task(bus.connect())
    await until(lambda: any("stream RENDER differs" in entry.get("detail", "") for entry in logged))
    complaint = next(entry for entry in logged if "stream RENDER differs" in entry.get("detail", ""))
    assert "nats stream rm RENDER" in complaint["detail"]
    await api(admin, "STREAM.DELETE.RENDER")
    await asyncio.wait_for(connecting, 10)


async def test_a_server_with_little_memory_gets_a_smaller_history_and_the_log_says_so(
    fleet: Fleet, logged: list[dict[str, Any]]
) -> None:
    server = NatsServer(memory_mb=200)
    server.start()
    try:
        bus = fleet.bus(server.url)
        await asyncio.wait_for(bus.connect(), 10)
        warning = next(entry for entry in logged if entry["event"] == "stream smaller than wanted")
        assert (warning["stream"], warning["wanted_mb"], warning["made_mb"]) == ("AUDIO", 1024, 128)
        # A second process takes it as it is, and does not try to enlarge it again.
        other = fleet.bus(server.url)
        await asyncio.wait_for(other.connect(), 10)
        await other.publish(subjects.audio("s"), BLOCK)
        await stored(bus, subjects.audio("s"), BLOCK)
        for each in (bus, other):
            await each.close()
    finally:
        server.stop()


async def test_an_account_without_jetstream_is_reported_with_what_to_do(
    fleet: Fleet, logged: list[dict[str, Any]]
) -> None:
    server = NatsServer("accounts { PLAIN { users: [ {user: u, password: a-good-password} ] } }")
    server.start()
    try:
        bus = fleet.bus(server.url, user="u", password="a-good-password")
        connecting = asyncio.create_task(bus.connect())
        await until(lambda: any(entry["event"] == "bus away" for entry in logged))
        complaint = next(entry for entry in logged if entry["event"] == "bus away")
        assert "JetStream not enabled for account; our account on the server needs" in complaint["detail"]
        connecting.cancel()
        await asyncio.wait({connecting})
        await bus.close()
    finally:
        server.stop()


async def test_streams_that_vanish_behind_a_live_connection_are_made_again(
    nats_server: NatsServer, fleet: Fleet, admin: Client
) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    source = await bus.jobs("now-r", subjects.render_filter("r", "now"))
    assert not await source.fetch(8, 0)
    for name in ("RENDER", "AUDIO"):
        assert (await api(admin, f"STREAM.DELETE.{name}"))["success"]
    with pytest.raises(BusError, match="RENDER is missing"):
        await bus.ask(subjects.render("r", "now", "s", 7), b"job", message_id="1")

    async def is_taken() -> bool:
        try:
            return await bus.ask(subjects.render("r", "now", "s", 7), b"job", message_id="1")
        except BusError:
            return False

    await until(is_taken)
    assert [job.data for job in await source.fetch(8, 5.0)] == [b"job"]
    assert (await api(admin, "STREAM.INFO.AUDIO"))["config"]["max_msgs_per_subject"] == 20
