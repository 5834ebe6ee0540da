"""A bus that dies, hangs, forgets, fills up or is unreachable."""

from __future__ import annotations

import time

import pytest

from services.contract.spec import StreamSpec
from tests.faults.support import Figures, fault, listen_on, uninterrupted, unnoticed
from tests.support.far_machine import far_machine
from tests.support.fault_proxy import fault_proxy
from tests.support.fleet import Fleet
from tests.support.judge import judge
from tests.support.nats import connected
from tests.support.recorder import Recorder, recorders, recording
from tests.support.small_disk import filled

STREAMS = range(200, 204)


@fault(
    "nats-server is killed (SIGKILL) and returns, empty, after a second",
    does="all services reconnect, make the streams again and ask again, well within the lead of five seconds",
)
async def test_a_bus_that_comes_back_empty_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    async with recorders(fleet.services["edge-1"].ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        fleet.nats.kill()
        await listen_on(1)
        fleet.nats.start()
        well_s = time.monotonic()
        await listen_on(5)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert unnoticed(verdict)


@fault(
    "nats-server is gone for eight seconds and returns empty",
    does="the edge says `degraded` and crossfades into a loop of the last bars; streams and consumers are made again",
    promise="all synthesis gone, or NATS gone",
)
async def test_without_a_bus_the_music_goes_on(fleet: Fleet, figures: Figures) -> None:
    async with recorders(fleet.services["edge-1"].ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        fleet.nats.kill()
        await listen_on(8)
        fleet.nats.start()
        well_s = time.monotonic()
        await listen_on(5)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert uninterrupted(verdict)
    assert 1 < verdict.looped_s < 9
    assert verdict.recovered_s < 4
    for recorder in listening:
        assert "degraded" in [state for state, _ in recorder.states]
        assert recorder.states[-1][0] == "playing"


@fault(
    "nats-server hangs (SIGSTOP) for eight seconds and continues (SIGCONT)",
    does="connections that answer no ping are closed after 4 to 6 s; the loop plays meanwhile",
)
async def test_a_bus_that_hangs_is_left_and_found_again(fleet: Fleet, figures: Figures) -> None:
    async with recorders(fleet.services["edge-1"].ws_url, STREAMS) as listening:
        struck_s = time.monotonic()
        fleet.nats.pause()
        await listen_on(8)
        fleet.nats.resume()
        well_s = time.monotonic()
        await listen_on(5)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert uninterrupted(verdict)
    assert verdict.recovered_s < 5


@fault(
    "an edge is cut off from NATS for eight seconds: packets are lost, no connection is closed (half-open TCP)",
    does="pings detect it; the loop plays meanwhile, and the other edge's listeners notice nothing",
)
async def test_an_edge_that_is_parted_from_the_bus_plays_on_and_comes_back(fleet: Fleet, figures: Figures) -> None:
    async with far_machine(fleet.nats.port) as machine:
        if machine is None:
            pytest.skip("needs a network namespace, which this user may not make, or iproute2")
        with fleet.with_service("edge-parted", machine=machine) as edge:
            await edge.ready()
            parted = [Recorder(edge.ws_url, StreamSpec(seed=seed)) for seed in STREAMS[:2]]
            others = [Recorder(fleet.services["edge-1"].ws_url, StreamSpec(seed=seed)) for seed in STREAMS[1:3]]
            async with recording([*parted, *others]):
                struck_s = time.monotonic()
                with machine.bus.pulled():
                    await listen_on(8)
                well_s = time.monotonic()
                await listen_on(6)
    figures.verdict = verdict = judge(parted, struck_s=struck_s, well_s=well_s)
    assert unnoticed(judge(others, struck_s=struck_s, well_s=well_s))
    assert uninterrupted(verdict)
    assert verdict.looped_s > 1
    assert verdict.recovered_s < 5


@fault(
    "every packet from NATS to an edge is 50 to 250 ms late",
    does="blocks are asked for five seconds ahead",
)
async def test_a_slow_connection_to_the_bus_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    async with fault_proxy(fleet.nats.port, seed=8) as proxy:
        with fleet.with_service("edge-delayed", nats_url=f"nats://127.0.0.1:{proxy.port}") as edge:
            await edge.ready()
            async with recorders(edge.ws_url, STREAMS[:2]) as listening:
                struck_s = time.monotonic()
                # The proxy delays each of a block's 22 pieces.
                proxy.delay_s, proxy.jitter_s = 0.05 / 22, 0.2 / 22
                await listen_on(8)
                proxy.delay_s = proxy.jitter_s = 0.0
                well_s = time.monotonic()
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert unnoticed(verdict)


@fault(
    "the disk of NATS is full, and then NATS is killed and started on the full disk",
    does="streams are kept in memory; audio is never written to disk",
)
async def test_a_full_disk_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    if fleet.store is None:
        pytest.skip("needs to mount a tmpfs, which this user may not")
    url = fleet.services["edge-1"].ws_url
    async with recorders(url, STREAMS[:2]) as listening:
        struck_s = time.monotonic()
        with filled(fleet.store):
            await listen_on(1)
            async with recorders(url, [230], chunks=10) as new:
                pass
            fleet.nats.kill()
            fleet.nats.start()
            await listen_on(6)
            async with recorders(url, [231], chunks=10) as newer:
                pass
        well_s = time.monotonic()
    figures.verdict = verdict = judge([*listening, *new, *newer], struck_s=struck_s, well_s=well_s)
    assert unnoticed(verdict)


@fault(
    "the memory of NATS is a sixteenth of its normal size, and a client fills it with audio without listeners",
    does="AUDIO is made smaller and drops the oldest; late joiners get less history, others notice nothing",
)
async def test_a_full_memory_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    wanted_mb, fleet.nats.memory_mb = fleet.nats.memory_mb, 96
    try:
        fleet.nats.restart()
        await fleet.restored()
        async with recorders(fleet.services["edge-1"].ws_url, STREAMS[:2]) as listening:
            struck_s = time.monotonic()
            figures.more["foreign_mb"] = await fill_audio(fleet, megabytes=128)
            await listen_on(6)
            well_s = time.monotonic()
            async with recorders(fleet.services["edge-1"].ws_url, [240], chunks=10) as new:
                pass
        figures.verdict = verdict = judge([*listening, *new], struck_s=struck_s, well_s=well_s)
        assert unnoticed(verdict)
    finally:
        fleet.nats.memory_mb = wanted_mb
        fleet.nats.restart()


async def fill_audio(fleet: Fleet, *, megabytes: int) -> int:
    """Publish `megabytes` of audio to streams without listeners; returns how many MB AUDIO then keeps."""
    async with connected(fleet.nats.url) as client:
        for number in range(megabytes * 6):
            await client.publish(f"auralis.audio.unheard-{number % 64}", bytes(176_400))
            await client.flush()
        info = await client.jetstream().stream_info("AUDIO")
        assert info.config.max_bytes is not None
        assert info.config.max_bytes <= 80 * 2**20
        return round(info.state.bytes / 2**20)
