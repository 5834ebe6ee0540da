"""Bounds of what a real server is sent."""

from __future__ import annotations

import asyncio

import pytest

from services.contract import subjects
from services.runtime.bus import BusError
from services.runtime.bus.limits import MIB, BusLimits
from tests.runtime.bus.nats.conftest import BLOCK, Fleet
from tests.support.metrics import sample_value
from tests.support.nats import NatsServer
from tests.support.waiting import until


async def test_audio_that_the_network_does_not_take_is_dropped_and_publishing_never_blocks(
    nats_server: NatsServer, fleet: Fleet
) -> None:
    bus = fleet.bus(nats_server.url, limits=BusLimits(publish_backlog_bytes=2 * MIB))
    await bus.connect()
    nats_server.pause()
    try:
        # Publishing that waited for the network would wait for ever: the server stands still.
        async with asyncio.timeout(20):
            for _ in range(200):
                await bus.publish(subjects.audio("s"), BLOCK)
                await asyncio.sleep(0)
        dropped = sample_value(bus._messaging.metrics.dropped, policy="publish_backlog")
        assert bus._connection.client is not None
        assert bus._connection.client.backlog_bytes <= 2 * MIB + 1024
        assert 100 < dropped < 200
        with pytest.raises(BusError, match=r"no answer|slower"):
            await bus.ask(subjects.render("r", "now", "s", 7), b"job", message_id="1")
    finally:
        nats_server.resume()


async def test_a_batch_published_in_one_go_arrives_whole_although_it_is_larger_than_the_backlog(
    nats_server: NatsServer, fleet: Fleet
) -> None:
    limits = BusLimits(publish_backlog_bytes=2 * MIB)
    renderer, edge = fleet.bus(nats_server.url, limits=limits), fleet.bus(nats_server.url)
    await renderer.connect()
    await edge.connect()
    heard: list[str] = []
    await edge.subscribe(subjects.AUDIO_SUBJECTS, lambda message: heard.append(message.subject))
    sent = [subjects.audio(f"s{number}") for number in range(60)]
    for subject in sent:
        await renderer.publish(subject, BLOCK)
    await until(lambda: len(heard) >= len(sent))
    assert heard == sent
    assert sample_value(renderer._messaging.metrics.dropped, policy="publish_backlog") == 0


async def test_a_message_larger_than_the_server_takes_is_refused_with_both_sizes(
    nats_server: NatsServer, fleet: Fleet
) -> None:
    bus = fleet.bus(nats_server.url)
    await bus.connect()
    with pytest.raises(BusError, match="1048577 bytes; the server accepts 1048576"):
        await bus.publish("x", bytes(MIB + 1))
    assert bus.connected
