"""False messages on the bus, and blocks in disorder."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time

import nats.errors
from nats.aio.client import Client

from services.contract import subjects
from services.contract.block import Block, stream_hash
from services.contract.job import RenderJob
from services.contract.presence import Presence
from services.contract.timebase import BLOCK_BYTES
from services.synthesis.render.revision import render_revision
from tests.faults.support import Figures, fault, listen_on, uninterrupted, unnoticed
from tests.support.fleet import Fleet
from tests.support.judge import judge
from tests.support.nats import connected
from tests.support.recorder import recorders

STREAMS = range(400, 404)


def garbage(chance: random.Random, stream_id: str, first_tick: int) -> bytes:
    """Bytes that are no block of this stream, of one of eleven kinds."""
    block = Block(
        stream_hash=stream_hash(stream_id),
        revision=render_revision(),
        first_tick=first_tick,
        pcm=chance.randbytes(BLOCK_BYTES),
    )
    good = block.encode()
    foreign = Block(stream_hash("another-stream"), block.revision, first_tick, block.pcm).encode()
    unknown_revision = Block(block.stream_hash, "s9-0000000000", first_tick, block.pcm).encode()
    return chance.choice(
        [
            b"",
            chance.randbytes(chance.randint(1, 2000)),
            good[: chance.randrange(len(good))],
            good + b"\0",
            b"AURB\x07" + good[5:],
            good[:5] + b"\x09" + good[6:],
            good[:6] + chance.randbytes(46) + good[52:],
            foreign,
            unknown_revision,
            Block(block.stream_hash, block.revision, first_tick + 36_000, block.pcm).encode(),
            Block(block.stream_hash, block.revision, first_tick - 36_000, block.pcm).encode(),
        ]
    )


@fault(
    "a client of the bus sends a hundred malformed blocks, jobs and presences a second",
    does="messages that are unreadable, or of another stream, revision or time, are counted and skipped",
)
async def test_garbage_on_the_bus_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    chance = random.Random(4)
    edge = fleet.services["edge-1"]
    async with recorders(edge.ws_url, STREAMS) as listening, connected(fleet.nats.url) as client:
        struck_s = time.monotonic()
        for _ in range(60):
            for recorder in listening:
                stream_id = recorder.spec.stream_id
                tick = int(time.time() + chance.uniform(0, 6)) * 10
                await client.publish(subjects.audio(stream_id), garbage(chance, stream_id, tick))
                jobs = subjects.render_filter(render_revision(), chance.choice(subjects.LANES)).removesuffix(">")
                await client.publish(
                    f"{jobs}{stream_id}.{tick // 10}", chance.choice([b"", b"{}", b'{"v":9}', chance.randbytes(100)])
                )
            await client.publish(subjects.PRESENCE, chance.choice([b"", b"{", b'{"v":1}', chance.randbytes(50)]))
            await client.publish(subjects.SCRAPE, chance.randbytes(20), reply="unused")
            await asyncio.sleep(0.1)  # the pace of the rogue
        skipped = await edge.metric("auralis_bus_messages_skipped_total")
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=struck_s)
    figures.more["skipped_by_the_edge"] = int(skipped)
    assert unnoticed(verdict)
    assert skipped > 50


@fault(
    "a renderer takes jobs, acknowledges them, and answers with garbage, for five seconds",
    does="missing blocks are asked for again every second; if no honest worker gets the job in time, the loop plays",
)
async def test_a_renderer_that_answers_with_garbage_is_replaced(fleet: Fleet, figures: Figures) -> None:
    async with recorders(fleet.services["edge-1"].ws_url, STREAMS) as listening, connected(fleet.nats.url) as client:
        struck_s = time.monotonic()
        # More pull requests than the honest workers have: the queue serves requests in turn.
        stealing = [steal(client, chance=random.Random(seed), seconds=5) for seed in range(6)]
        stolen = sum(await asyncio.gather(*stealing))
        well_s = time.monotonic()
        await listen_on(6)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    figures.more["jobs_stolen"] = stolen
    assert stolen > 0
    assert uninterrupted(verdict)
    assert verdict.looped_s < 5
    assert verdict.recovered_s < 5


async def steal(client: Client, *, chance: random.Random, seconds: float) -> int:
    """Take jobs, acknowledge them, and answer with garbage; returns how many."""
    durable = subjects.render_consumer(render_revision(), "ahead")
    source = await client.jetstream().pull_subscribe_bind(durable, subjects.RENDER_STREAM)
    stolen = 0
    until_s = time.monotonic() + seconds
    while (left_s := until_s - time.monotonic()) > 0.05:
        with contextlib.suppress(nats.errors.TimeoutError):
            for job in await source.fetch(1, timeout=left_s):
                stolen += 1
                await job.ack()
                stream_id = RenderJob.decode(job.data).spec.stream_id
                await client.publish(subjects.audio(stream_id), garbage(chance, stream_id, int(time.time() + 5) * 10))
    return stolen


@fault(
    "every block reaches the edge one to three times, each copy up to two seconds late: duplicated and out of order",
    does="the ring has a place for each tick and keeps the first copy of a tick; only a beginning may need the loop",
)
async def test_blocks_in_disorder_are_not_heard(fleet: Fleet, figures: Figures) -> None:
    with fleet.with_service("edge-shuffled", module="tests.support.shuffled_bus services.edge") as edge:
        await edge.ready()
        began_s = time.monotonic()
        # A listener's first two blocks are late as well, so its beginning is, but nothing after it.
        async with recorders(edge.ws_url, STREAMS, chunks=30) as listening:
            await listen_on(6)
            doubled = await edge.metric("auralis_blocks_total", result="duplicate")
    figures.verdict = verdict = judge(listening, struck_s=began_s, well_s=began_s)
    figures.more["blocks_duplicated"] = int(doubled)
    assert (verdict.missing, verdict.repeated, verdict.clicks, verdict.wrong) == (0, 0, 0, 0)
    assert verdict.silence_s == 0
    # Counted from the first connection: trouble may last for the beginning, not for the six seconds after it.
    assert verdict.recovered_s < 4
    assert doubled > 10


def presence(**changes: object) -> bytes:
    base = {
        "instance": "impostor", "revision": "s9-0000000000", "sound_version": 9, "state": "ready",
        "capacity_streams": 1e6, "mode": "compiled", "device": "cpu",
    }  # fmt: skip
    return Presence(**{**base, **changes}).encode()  # type: ignore[arg-type]


@fault(
    "a client announces a renderer of a newer revision with capacity for a million streams, and never renders",
    does="a stream's present revision is asked until the new one has sent a block to join",
)
async def test_a_renderer_that_only_promises_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    async with recorders(fleet.services["edge-1"].ws_url, STREAMS) as listening, connected(fleet.nats.url) as client:
        struck_s = time.monotonic()
        for _ in range(6):
            await client.publish(subjects.PRESENCE, presence())
            await listen_on(1)
        well_s = time.monotonic()
        await listen_on(7)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert unnoticed(verdict)
