"""A bus that dies, hangs, forgets, fills up, or cannot be reached."""

from __future__ import annotations

import asyncio
import time

import pytest

from services.contract.spec import StreamSpec
from tests.faults.support import Figures, fault, unheard, whole
from tests.support.bad_line import bad_line
from tests.support.ears import Ear, ears, judge, listening_with
from tests.support.far_machine import far_machine
from tests.support.fleet import Fleet
from tests.support.nats import connected
from tests.support.small_disk import filled

STREAMS = range(200, 204)


@fault(
    "nats-server is killed (SIGKILL) and is back, empty, after a second",
    does="everybody connects again, makes the streams again and asks again, well within the lead of five seconds",
)
async def test_a_bus_that_comes_back_empty_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    async with ears(fleet.services["edge-1"].ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        fleet.nats.kill()
        await asyncio.sleep(1)
        fleet.nats.start()
        well_s = time.monotonic()
        await asyncio.sleep(5)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert unheard(verdict)


@fault(
    "nats-server is gone for eight seconds, and comes back empty",
    does="the edge says `degraded` and crossfades into a loop of the last bars; streams and consumers are made again",
    promise="all synthesis gone, or NATS gone",
)
async def test_without_a_bus_the_music_goes_on(fleet: Fleet, figures: Figures) -> None:
    async with ears(fleet.services["edge-1"].ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        fleet.nats.kill()
        await asyncio.sleep(8)
        fleet.nats.start()
        well_s = time.monotonic()
        await asyncio.sleep(5)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert whole(verdict)
    assert 1 < verdict.looped_s < 9
    assert verdict.recovered_s < 4
    for ear in listening:
        assert "degraded" in [state for state, _ in ear.states]
        assert ear.states[-1][0] == "playing"


@fault(
    "nats-server hangs (SIGSTOP) for eight seconds and goes on (SIGCONT)",
    does="connections that answer no ping are given up after 4 to 6 s; the loop plays meanwhile",
)
async def test_a_bus_that_hangs_is_left_and_found_again(fleet: Fleet, figures: Figures) -> None:
    async with ears(fleet.services["edge-1"].ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        fleet.nats.pause()
        await asyncio.sleep(8)
        fleet.nats.resume()
        well_s = time.monotonic()
        await asyncio.sleep(5)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert whole(verdict)
    assert verdict.recovered_s < 5


@fault(
    "the edge is parted from NATS for eight seconds: packets are lost, no connection is closed (half-open TCP)",
    does="pings find it out; the loop plays meanwhile, and the other edge's listeners notice nothing",
)
async def test_an_edge_that_is_parted_from_the_bus_plays_on_and_comes_back(fleet: Fleet, figures: Figures) -> None:
    async with far_machine(fleet.nats.port) as machine:
        if machine is None:
            pytest.skip("needs a network namespace, which this user may not make, or iproute2")
        with fleet.besides("edge-parted", machine=machine) as edge:
            await edge.ready()
            parted = [Ear(edge.ws_url, StreamSpec(seed=seed)) for seed in STREAMS[:2]]
            others = [Ear(fleet.services["edge-1"].ws_url, StreamSpec(seed=seed)) for seed in STREAMS[1:3]]
            async with listening_with([*parted, *others]):
                struck_s = time.monotonic()
                with machine.bus.pulled():
                    await asyncio.sleep(8)
                well_s = time.monotonic()
                await asyncio.sleep(6)
    figures.verdict = verdict = judge(parted, struck_s=struck_s, well_s=well_s)
    assert unheard(judge(others, struck_s=struck_s, well_s=well_s))
    assert whole(verdict)
    assert verdict.looped_s > 1
    assert verdict.recovered_s < 5


@fault(
    "every packet from NATS to an edge is 50 to 250 ms late",
    does="nothing: blocks are asked for five seconds ahead",
)
async def test_a_slow_line_to_the_bus_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    async with bad_line(fleet.nats.port, seed=8) as line:
        with fleet.besides("edge-delayed", nats_url=f"nats://127.0.0.1:{line.port}") as edge:
            await edge.ready()
            async with ears(edge.ws_url, STREAMS[:2]) as listening:
                struck_s = time.monotonic()
                # The proxy holds up each of a block's 22 pieces.
                line.delay_s, line.jitter_s = 0.05 / 22, 0.2 / 22
                await asyncio.sleep(8)
                line.delay_s = line.jitter_s = 0.0
                well_s = time.monotonic()
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert unheard(verdict)


@fault(
    "the disk of NATS is full, and then NATS is killed and started on the full disk",
    does="streams are kept in memory; nothing of what is heard is ever written",
)
async def test_a_full_disk_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    if fleet.store is None:
        pytest.skip("needs to mount a tmpfs, which this user may not")
    url = fleet.services["edge-1"].ws_url
    async with ears(url, STREAMS[:2]) as listening:
        struck_s = time.monotonic()
        with filled(fleet.store):
            await asyncio.sleep(1)
            async with ears(url, [230], chunks=10) as new:
                pass
            fleet.nats.kill()
            fleet.nats.start()
            await asyncio.sleep(6)
            async with ears(url, [231], chunks=10) as newer:
                pass
        well_s = time.monotonic()
    figures.verdict = verdict = judge([*listening, *new, *newer], struck_s=struck_s, well_s=well_s)
    assert unheard(verdict)


@fault(
    "the memory of NATS is a sixteenth of what is wanted, and somebody fills it with sound that nobody hears",
    does="AUDIO is made smaller and drops the oldest; late joiners get less history, nobody else notices",
)
async def test_a_full_memory_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    wanted_mb, fleet.nats.memory_mb = fleet.nats.memory_mb, 96
    try:
        fleet.nats.restart()
        await fleet.well()
        async with ears(fleet.services["edge-1"].ws_url, STREAMS[:2]) as listening:
            struck_s = time.monotonic()
            figures.more["foreign_mb"] = await fill_audio(fleet, megabytes=128)
            await asyncio.sleep(6)
            well_s = time.monotonic()
            async with ears(fleet.services["edge-1"].ws_url, [240], chunks=10) as new:
                pass
        figures.verdict = verdict = judge([*listening, *new], struck_s=struck_s, well_s=well_s)
        assert unheard(verdict)
    finally:
        fleet.nats.memory_mb = wanted_mb
        fleet.nats.restart()


async def fill_audio(fleet: Fleet, *, megabytes: int) -> int:
    """Publish so much to streams that nobody hears; returns how many MB AUDIO keeps afterwards."""
    async with connected(fleet.nats.url) as client:
        for number in range(megabytes * 6):
            await client.publish(f"auralis.audio.nobody-{number % 64}", bytes(176_400))
            await client.flush()
        info = await client.jetstream().stream_info("AUDIO")
        assert info.config.max_bytes is not None
        assert info.config.max_bytes <= 80 * 2**20
        return round(info.state.bytes / 2**20)
