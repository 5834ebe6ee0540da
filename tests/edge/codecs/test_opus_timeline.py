from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from services.contract.block import stream_hash
from services.contract.websocket import unpack_opus
from services.edge.codecs import opus_timeline as module
from services.edge.codecs.opus_timeline import OpusTimeline
from services.edge.stream.ring import Ring
from tests.edge.codecs.support import decode_opus
from tests.edge.support import LIVE, SPEC, block
from tests.support.waiting import until


class Encoded:
    """A ring with music in it, and its Opus timeline."""

    def __init__(self) -> None:
        self.ring = Ring(stream_hash(SPEC.stream_id), bpm=SPEC.bpm)
        for number in range(LIVE // 10 - 3, LIVE // 10 + 4):
            self.ring.add(block(number, marked=False), LIVE)
        self.done = 0
        self.failures: list[Exception] = []
        self.pool = ThreadPoolExecutor(1)
        self.timeline = OpusTimeline(self.ring, self.pool, on_done=self._count, on_failed=self.failures.append)
        self.ring.advance(LIVE, 20)

    def _count(self) -> None:
        self.done += 1

    async def wait_for(self, tick: int) -> None:
        def encoded() -> bool:
            self.timeline.work()
            return self.timeline.chunk(tick) is not None

        await until(encoded)

    async def payloads(self, first: int, last: int) -> list[tuple[list[bytes], list[bytes]]]:
        """Pre-roll and packets that a listener gets whose first tick is `first`."""
        sent = []
        for tick in range(first, last + 1):
            await self.wait_for(tick)
            chunk = self.timeline.chunk(tick)
            assert chunk is not None
            assert chunk.opus is not None
            fresh = tick == first or chunk.opus.payload is None
            sent.append(unpack_opus(chunk.opus.beginning if fresh else chunk.opus.payload or b""))
        return sent


async def test_nothing_is_encoded_before_a_listener_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = Encoded()
    jobs: list[object] = []
    monkeypatch.setattr(encoded.pool, "submit", jobs.append)
    encoded.timeline.work()
    assert jobs == []
    monkeypatch.undo()
    assert encoded.timeline.chunk(LIVE) is None
    await encoded.wait_for(LIVE)
    assert encoded.done >= 1


async def test_after_the_first_request_every_chunk_of_the_ring_is_encoded_once() -> None:
    encoded = Encoded()
    await encoded.wait_for(LIVE)
    await encoded.wait_for(LIVE + 19)
    packets = [encoded.ring.chunk(LIVE + index).opus for index in range(20)]  # type: ignore[union-attr]
    await encoded.wait_for(LIVE + 10)
    assert all(encoded.ring.chunk(LIVE + index).opus is packets[index] for index in range(20))  # type: ignore[union-attr]
    sent = await encoded.payloads(LIVE, LIVE + 19)
    assert [len(before) for before, _ in sent] == [4] + [0] * 19


async def test_a_job_encodes_more_chunks_while_more_are_waiting() -> None:
    encoded = Encoded()
    await encoded.wait_for(LIVE + 19)
    first = encoded.done
    for number in range(LIVE // 10 + 4, LIVE // 10 + 6):
        encoded.ring.add(block(number, marked=False), LIVE)
    encoded.ring.advance(LIVE, 50)
    await encoded.wait_for(LIVE + 49)
    # Jobs of 3, 6, 12 and the rest: few iterations of the event loop, however long each of them takes.
    assert encoded.done - first <= 4


async def test_a_listener_that_resumes_further_back_gets_a_second_run_and_preroll_where_it_meets_the_first() -> None:
    encoded = Encoded()
    await encoded.wait_for(LIVE + 5)
    await encoded.wait_for(LIVE + 2)
    sent = await encoded.payloads(LIVE + 2, LIVE + 12)
    assert [len(before) for before, _ in sent] == [4, 0, 0, 4] + [0] * 7
    # The second run began earlier than asked, for listeners that resume a moment later.
    assert encoded.timeline.chunk(LIVE - 4) is not None


async def test_a_timeline_that_begins_anew_is_encoded_anew() -> None:
    encoded = Encoded()
    await encoded.wait_for(LIVE + 5)
    encoded.ring.restart()
    encoded.ring.advance(LIVE, 20)
    await encoded.wait_for(LIVE + 6)
    assert len((await encoded.payloads(LIVE + 6, LIVE + 6))[0][0]) == 4


async def test_a_codec_that_fails_is_reported_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = Encoded()

    class Broken:
        def encode(self, _: bytes) -> None:
            raise RuntimeError("a planted fault")

    monkeypatch.setattr(module, "OpusEncoder", Broken)
    encoded.timeline.chunk(LIVE)
    encoded.timeline.work()
    await until(lambda: encoded.failures)
    monkeypatch.undo()
    await encoded.wait_for(LIVE)


async def test_the_joint_of_two_runs_is_inaudible() -> None:
    encoded = Encoded()
    await encoded.wait_for(LIVE + 5)
    await encoded.wait_for(LIVE + 1)
    heard: list[np.ndarray] = []
    pending: list[bytes] = []
    skip = 0
    for before, packets in [*await encoded.payloads(LIVE + 1, LIVE + 12), ([b"end"], [])]:
        if before and pending:
            heard.append(decode_opus(pending)[skip * 960 :])
            pending = []
        if before:
            pending, skip = list(before), len(before)
        pending += packets
    assert len(heard) == 2
    joint = len(heard[0])
    sound = np.concatenate(heard)[:, 0]
    steps = np.abs(np.diff(sound))
    assert steps[joint - 1] < 1.5 * steps.max(initial=0.0, where=np.arange(len(steps)) != joint - 1)
    assert all(len(part) % 4800 == 0 for part, _ in pairwise(heard))
