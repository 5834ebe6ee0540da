from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import av
import numpy as np
import pytest

from services.contract.block import stream_hash
from services.contract.errors import ContractError
from services.contract.timebase import CHUNK_FRAMES, SAMPLE_RATE_HZ
from services.contract.websocket import OPUS_RATE_HZ, pack_opus, unpack_opus
from services.edge.codecs import opus_timeline as module
from services.edge.codecs.opus_encoder import OpusEncoder
from services.edge.codecs.opus_timeline import OpusTimeline
from services.edge.stream.ring import Ring
from tests.edge.support import LIVE, SPEC, block

TONE_HZ = 440


def chunk_pcm(index: int) -> bytes:
    frame = np.arange(index * CHUNK_FRAMES, (index + 1) * CHUNK_FRAMES)
    left = np.rint(8000 * np.sin(2 * np.pi * TONE_HZ * frame / SAMPLE_RATE_HZ)).astype("<i2")
    return np.stack([left, left // 2], axis=1).tobytes()


def decode(packets: Iterable[bytes]) -> np.ndarray:
    """[frames, 2]"""
    codec = av.CodecContext.create("libopus", "r")
    codec.sample_rate, codec.layout = OPUS_RATE_HZ, "stereo"
    parts = [frame.to_ndarray().reshape(-1, 2) for packet in packets for frame in codec.decode(av.Packet(packet))]
    return np.concatenate(parts).astype(np.float64)


# --- packets ---------------------------------------------------------------------------------------------------------


def test_a_chunk_is_five_packets_of_20_ms() -> None:
    encoder = OpusEncoder()
    made = [encoder.encode(chunk_pcm(index)) for index in range(10)]
    assert {len(packets) for packets in made} == {5}
    assert len(decode(packet for packets in made for packet in packets)) == 10 * 4800
    # 128 kbit/s are 1.6 KB a chunk.
    assert 1200 < np.mean([sum(map(len, packets)) for packets in made[2:]]) < 2000


def test_the_tone_comes_back_with_its_pitch_and_level() -> None:
    encoder = OpusEncoder()
    sound = decode(packet for index in range(20) for packet in encoder.encode(chunk_pcm(index)))
    steady = sound[OPUS_RATE_HZ // 2 : OPUS_RATE_HZ // 2 + OPUS_RATE_HZ, 0]
    spectrum = np.abs(np.fft.rfft(steady * np.hanning(len(steady))))
    assert int(np.argmax(spectrum)) == TONE_HZ
    assert np.sqrt(np.mean(steady**2)) == pytest.approx(8000 / np.sqrt(2), rel=0.02)
    # Borders of chunks would be lines at multiples of 10 Hz; those at multiples of 50 Hz are the codec's packets.
    borders = [spectrum[TONE_HZ + 10 * step] for step in range(-20, 21) if step % 5]
    assert 20 * np.log10(max(borders) / spectrum.max()) < -50


def test_after_the_preroll_a_new_decoder_plays_what_the_old_one_plays() -> None:
    encoder = OpusEncoder()
    made = [encoder.encode(chunk_pcm(index)) for index in range(20)]
    whole = decode(packet for packets in made for packet in packets)
    for begun in (5, 11):
        joined = decode([*made[begun - 1][-4:], *(packet for packets in made[begun:] for packet in packets)])
        heard = joined[4 * 960 :]
        difference = heard - whole[begun * 4800 :]
        assert 20 * np.log10(np.sqrt(np.mean(difference**2)) / np.sqrt(np.mean(heard**2))) < -60


def test_half_a_chunk_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 17640"):
        OpusEncoder().encode(bytes(8820))


def test_a_payload_is_these_bytes() -> None:
    packets = [b"a", b"bc", b"d", b"e", b"f"]
    assert pack_opus(packets) == b"\x00\x05" + b"\x01\x00\x02\x00\x01\x00\x01\x00\x01\x00" + b"abcdef"
    before = [b"1", b"2", b"3", b"4"]
    assert pack_opus(packets, before)[:2] == b"\x04\x09"
    assert unpack_opus(pack_opus(packets, before)) == (before, packets)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x00",
        b"\x00\x05",
        b"\x01\x06" + bytes(20),
        b"\x00\x04" + b"\x01\x00" * 4 + b"abcd",
        b"\x00\x05" + b"\x01\x00" * 5 + b"abcd",
        b"\x00\x05" + b"\x01\x00" * 5 + b"abcdef",
        b"\x00\x05" + b"\x00\x00" * 5,
    ],
)
def test_a_broken_payload_is_a_contract_error(payload: bytes) -> None:
    with pytest.raises(ContractError):
        unpack_opus(payload)


# --- the line --------------------------------------------------------------------------------------------------------


class Studio:
    """A ring with sound in it, and its Opus line."""

    def __init__(self) -> None:
        self.ring = Ring(stream_hash(SPEC.stream_id), bpm=SPEC.bpm)
        for number in range(LIVE // 10 - 3, LIVE // 10 + 4):
            self.ring.add(block(number, marked=False), LIVE)
        self.done = 0
        self.failures: list[Exception] = []
        self.pool = ThreadPoolExecutor(1)
        self.line = OpusTimeline(self.ring, self.pool, on_done=self._count, on_failed=self.failures.append)
        self.ring.advance(LIVE, 20)

    def _count(self) -> None:
        self.done += 1

    async def until_there(self, tick: int) -> None:
        async with asyncio.timeout(5):
            while self.line.chunk(tick) is None:
                self.line.work()
                await asyncio.sleep(0.002)

    async def payloads(self, first: int, last: int) -> list[tuple[list[bytes], list[bytes]]]:
        """What a listener is sent who begins at `first`."""
        sent = []
        for tick in range(first, last + 1):
            await self.until_there(tick)
            chunk = self.line.chunk(tick)
            assert chunk is not None
            assert chunk.opus is not None
            begins = tick == first or chunk.opus.payload is None
            sent.append(unpack_opus(chunk.opus.beginning if begins else chunk.opus.payload or b""))
        return sent


async def test_nothing_is_encoded_before_somebody_wants_it() -> None:
    studio = Studio()
    studio.line.work()
    await asyncio.sleep(0.02)
    assert studio.done == 0
    assert studio.line.chunk(LIVE) is None
    await studio.until_there(LIVE)
    assert studio.done >= 1


async def test_from_the_first_wish_on_everything_that_is_drawn_is_encoded_once() -> None:
    studio = Studio()
    await studio.until_there(LIVE)
    await studio.until_there(LIVE + 19)
    packets = [studio.ring.chunk(LIVE + index).opus for index in range(20)]  # type: ignore[union-attr]
    await studio.until_there(LIVE + 10)
    assert all(studio.ring.chunk(LIVE + index).opus is packets[index] for index in range(20))  # type: ignore[union-attr]
    sent = await studio.payloads(LIVE, LIVE + 19)
    assert [len(before) for before, _ in sent] == [4] + [0] * 19


async def test_the_more_waits_the_more_is_encoded_in_one_go() -> None:
    studio = Studio()
    await studio.until_there(LIVE + 19)
    first = studio.done
    for number in range(LIVE // 10 + 4, LIVE // 10 + 6):
        studio.ring.add(block(number, marked=False), LIVE)
    studio.ring.advance(LIVE, 50)
    await studio.until_there(LIVE + 49)
    # 3, 6, 12 and what is left: a loop whose turns take long must not fall further and further behind.
    assert studio.done - first <= 4


async def test_who_resumes_further_back_gets_a_run_of_his_own_and_preroll_where_it_meets_the_other() -> None:
    studio = Studio()
    await studio.until_there(LIVE + 5)
    await studio.until_there(LIVE + 2)
    sent = await studio.payloads(LIVE + 2, LIVE + 12)
    assert [len(before) for before, _ in sent] == [4, 0, 0, 4] + [0] * 7
    # A little more of the past than was asked for is there already for those who come after him.
    assert studio.line.chunk(LIVE - 4) is not None


async def test_a_line_that_begins_anew_is_encoded_anew() -> None:
    studio = Studio()
    await studio.until_there(LIVE + 5)
    studio.ring.restart()
    studio.ring.advance(LIVE, 20)
    await studio.until_there(LIVE + 6)
    assert len((await studio.payloads(LIVE + 6, LIVE + 6))[0][0]) == 4


async def test_a_codec_that_fails_is_told_and_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    studio = Studio()

    class Broken:
        def encode(self, _: bytes) -> None:
            raise RuntimeError("a planted fault")

    monkeypatch.setattr(module, "OpusEncoder", Broken)
    studio.line.chunk(LIVE)
    studio.line.work()
    async with asyncio.timeout(5):
        while not studio.failures:
            await asyncio.sleep(0.002)
    monkeypatch.undo()
    await studio.until_there(LIVE)


async def test_runs_that_meet_are_heard_as_one_sound() -> None:
    studio = Studio()
    await studio.until_there(LIVE + 5)
    await studio.until_there(LIVE + 1)
    heard: list[np.ndarray] = []
    pending: list[bytes] = []
    skip = 0
    for before, packets in [*await studio.payloads(LIVE + 1, LIVE + 12), ([b"end"], [])]:
        if before and pending:
            heard.append(decode(pending)[skip * 960 :])
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
