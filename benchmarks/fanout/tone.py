"""A renderer without cost: every block is the same second of a chord. `python tone.py NATS_URL`."""

from __future__ import annotations

import asyncio
import contextlib
import sys

import numpy as np

from services.contract import subjects
from services.contract.block import Block, Chord, stream_hash
from services.contract.job import RenderJob
from services.contract.presence import Presence
from services.contract.timebase import BLOCK_FRAMES, SAMPLE_RATE_HZ, first_tick
from services.runtime.bus.nats import NatsBus
from services.runtime.settings import NatsSettings

REVISION = "tone"


def second() -> bytes:
    """One second of a chord with whole frequencies, which repeats without a seam: interleaved int16."""
    time_s = np.arange(BLOCK_FRAMES) / SAMPLE_RATE_HZ
    wave = sum(2500 * np.sin(2 * np.pi * hz * time_s) for hz in (220, 277, 330, 415, 494))
    return np.repeat(np.round(wave).astype("<i2"), 2).tobytes()


async def main() -> None:
    """Answer jobs until killed."""
    bus = NatsBus(NatsSettings(url=sys.argv[1]), name="tone")
    await bus.connect()
    presence = Presence(
        instance="tone", revision=REVISION, sound_version=1, state="ready", capacity_streams=1000, mode="eager",
        device="cpu",
    )  # fmt: skip
    pcm = memoryview(second())

    async def announce() -> None:
        while True:
            await bus.publish(subjects.PRESENCE, presence.encode())
            await asyncio.sleep(1)

    async def work(lane: subjects.Lane) -> None:
        consumer = subjects.render_consumer(REVISION, lane), subjects.render_filter(REVISION, lane)
        jobs = await bus.jobs(*consumer, ack_wait_s=1.0)
        while True:
            for taken in await jobs.fetch(64, 1.0):
                job = RenderJob.decode(taken.data)
                block = Block(
                    stream_hash=stream_hash(job.spec.stream_id), revision=REVISION, first_tick=first_tick(job.block),
                    pcm=pcm, peak=0.4, rms=0.12, render_s=0.0, chords=(Chord(0, "Am9"),),
                )  # fmt: skip
                await bus.publish(subjects.audio(job.spec.stream_id), block.encode())
                await taken.ack()

    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.gather(announce(), *(work(lane) for lane in subjects.LANES))


if __name__ == "__main__":
    asyncio.run(main())
