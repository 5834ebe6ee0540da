"""A bus on which somebody says what is not so, and blocks that come in disorder."""

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
from services.synthesis.render.renderer import render_revision
from tests.faults.support import Figures, fault, unheard, whole
from tests.support.ears import ears, judge
from tests.support.fleet import Fleet
from tests.support.nats import connected

STREAMS = range(400, 404)


def garbage(chance: random.Random, stream_id: str, first_tick: int) -> bytes:
    """One of many things that are no block of this stream."""
    block = Block(
        stream_hash=stream_hash(stream_id),
        revision=render_revision(),
        first_tick=first_tick,
        pcm=chance.randbytes(BLOCK_BYTES),
    )
    good = block.encode()
    foreign = Block(stream_hash("somebody-else"), block.revision, first_tick, block.pcm).encode()
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
    "somebody on the bus sends a hundred things a second that are no blocks, no jobs and no presences",
    does="what cannot be read, or is of another stream, revision or time, is counted and skipped",
)
async def test_garbage_on_the_bus_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    chance = random.Random(4)
    edge = fleet.services["edge-1"]
    async with ears(edge.ws_url, STREAMS) as listening, connected(fleet.nats.url) as client:
        struck_s = time.monotonic()
        for _ in range(60):
            for ear in listening:
                stream_id = ear.spec.stream_id
                tick = int(time.time() + chance.uniform(0, 6)) * 10
                await client.publish(subjects.audio(stream_id), garbage(chance, stream_id, tick))
                jobs = subjects.render_filter(render_revision(), chance.choice(subjects.LANES)).removesuffix(">")
                await client.publish(
                    f"{jobs}{stream_id}.{tick // 10}", chance.choice([b"", b"{}", b'{"v":9}', chance.randbytes(100)])
                )
            await client.publish(subjects.PRESENCE, chance.choice([b"", b"{", b'{"v":1}', chance.randbytes(50)]))
            await client.publish(subjects.SCRAPE, chance.randbytes(20), reply="nobody")
            await asyncio.sleep(0.1)
        skipped = await edge.metric("auralis_bus_messages_skipped_total")
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=struck_s)
    figures.more["skipped_by_the_edge"] = int(skipped)
    assert unheard(verdict)
    assert skipped > 50


@fault(
    "a renderer takes jobs, says that they are done, and answers with garbage, for five seconds",
    does="what is missing is asked for again every second; where nobody honest gets the job in time, the loop plays",
)
async def test_a_renderer_that_lies_is_made_up_for(fleet: Fleet, figures: Figures) -> None:
    async with ears(fleet.services["edge-1"].ws_url, STREAMS) as listening, connected(fleet.nats.url) as client:
        struck_s = time.monotonic()
        # As many requests wait at the queue as the honest ones have, and more: it is asked in turn.
        lying = [steal(client, chance=random.Random(seed), seconds=5) for seed in range(6)]
        stolen = sum(await asyncio.gather(*lying))
        well_s = time.monotonic()
        await asyncio.sleep(6)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    figures.more["jobs_stolen"] = stolen
    assert stolen > 0
    assert whole(verdict)
    assert verdict.looped_s < 5
    assert verdict.recovered_s < 5


async def steal(client: Client, *, chance: random.Random, seconds: float) -> int:
    """Take jobs, say that they are done, and answer with garbage; returns how many."""
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
    "every block reaches the edge one to three times, each copy up to two seconds late: doubled and out of order",
    does="the ring has a place for each tick, and the first copy of a tick stays; only a beginning may need the loop",
)
async def test_blocks_in_disorder_are_not_heard(fleet: Fleet, figures: Figures) -> None:
    with fleet.besides("edge-shuffled", module="tests.support.shuffled_bus services.edge") as edge:
        await edge.ready()
        began_s = time.monotonic()
        # The first two blocks of a listener are late as well: so is its beginning, but nothing after it.
        async with ears(edge.ws_url, STREAMS, chunks=30) as listening:
            await asyncio.sleep(6)
            doubled = await edge.metric("auralis_blocks_total", result="duplicate")
    figures.verdict = verdict = judge(listening, struck_s=began_s, well_s=began_s)
    figures.more["blocks_doubled"] = int(doubled)
    assert (verdict.missing, verdict.repeated, verdict.clicks, verdict.wrong) == (0, 0, 0, 0)
    assert verdict.silence_s == 0
    # From the first connection on: of the beginning, not of the six seconds after it.
    assert verdict.recovered_s < 4
    assert doubled > 10


def presence(**changes: object) -> bytes:
    base = {
        "instance": "liar", "revision": "s9-0000000000", "sound_version": 9, "state": "ready",
        "capacity_streams": 1e6, "mode": "compiled", "device": "cpu",
    }  # fmt: skip
    return Presence(**{**base, **changes}).encode()  # type: ignore[arg-type]


@fault(
    "somebody announces a renderer of a newer revision with room for a million streams, and never renders",
    does="a stream's present revision is asked as long as the new one has sent nothing to join",
)
async def test_a_renderer_that_only_promises_is_not_heard(fleet: Fleet, figures: Figures) -> None:
    async with ears(fleet.services["edge-1"].ws_url, STREAMS) as listening, connected(fleet.nats.url) as client:
        struck_s = time.monotonic()
        for _ in range(6):
            await client.publish(subjects.PRESENCE, presence())
            await asyncio.sleep(1)
        well_s = time.monotonic()
        await asyncio.sleep(7)
    figures.verdict = verdict = judge(listening, struck_s=struck_s, well_s=well_s)
    assert unheard(verdict)
