from __future__ import annotations

import numpy as np
import pytest

from services.client.opus import OpusDecoder
from services.contract.errors import ContractError
from services.contract.timebase import CHUNK_BYTES, CHUNK_FRAMES, SAMPLE_RATE_HZ
from services.contract.websocket import pack_opus
from services.edge.codecs.opus_encoder import OpusEncoder

TONE_HZ = 441


def chunk_pcm(index: int) -> bytes:
    frame = np.arange(index * CHUNK_FRAMES, (index + 1) * CHUNK_FRAMES)
    left = np.rint(8000 * np.sin(2 * np.pi * TONE_HZ * frame / SAMPLE_RATE_HZ)).astype("<i2")
    return np.stack([left, left // 2], axis=1).tobytes()


def encoded(first: int, count: int) -> list[tuple[bytes, ...]]:
    """What an edge makes of chunks that begins `first` chunks into the music."""
    encoder = OpusEncoder()
    return [encoder.encode(chunk_pcm(first + index)) for index in range(count)]


def left(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, "<i2").reshape(-1, 2)[:, 0].astype(float)


def click(sound: np.ndarray) -> float:
    """The largest departure from a steady tone, of its amplitude: what is left when the tone is predicted away."""
    turn = 2 * np.cos(2 * np.pi * TONE_HZ / SAMPLE_RATE_HZ)
    return float(np.abs(sound[2:] - turn * sound[1:-1] + sound[:-2]).max() / 8000)


def test_chunks_are_as_long_as_they_were_and_sound_as_they_did() -> None:
    packets = encoded(0, 20)
    decoder = OpusDecoder()
    chunks = [decoder.decode(5, pack_opus(packets[5], packets[4][-4:]))]
    chunks += [decoder.decode(index, pack_opus(packets[index])) for index in range(6, 20)]
    assert {len(chunk) for chunk in chunks} == {CHUNK_BYTES}
    sound = left(b"".join(chunks))
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(8000 / np.sqrt(2), rel=0.02)
    assert click(sound) < 0.02
    # 7 ms of codec and 1 ms of two resamplers late, and otherwise the same.
    delay = 312 * SAMPLE_RATE_HZ / 48_000 + 23 + 23 * SAMPLE_RATE_HZ / 48_000
    ideal = 8000 * np.sin(2 * np.pi * TONE_HZ * (5 * CHUNK_FRAMES + np.arange(len(sound)) - delay) / SAMPLE_RATE_HZ)
    error = sound - ideal
    assert 20 * np.log10(np.sqrt(np.mean(error**2)) / 8000) < -30


def test_a_move_to_another_edges_encoder_is_not_heard() -> None:
    one, other = encoded(0, 20), encoded(7, 20)
    decoder = OpusDecoder()
    sound = decoder.decode(1, pack_opus(one[1], one[0][-4:]))
    sound += b"".join(decoder.decode(index, pack_opus(one[index])) for index in range(2, 12))
    # The other edge began to encode at chunk 7.
    sound += decoder.decode(12, pack_opus(other[5], other[4][-4:]))
    sound += b"".join(decoder.decode(index, pack_opus(other[index - 7])) for index in range(13, 20))
    assert click(left(sound)) < 0.02


def test_without_the_preroll_the_same_move_would_click() -> None:
    one, other = encoded(0, 20), encoded(12, 8)
    decoder, stranger = OpusDecoder(), OpusDecoder()
    sound = decoder.decode(1, pack_opus(one[1], one[0][-4:]))
    sound += b"".join(decoder.decode(index, pack_opus(one[index])) for index in range(2, 12))
    sound += stranger.decode(12, pack_opus(other[0], OpusEncoder().encode(bytes(CHUNK_BYTES))[-4:]))
    assert click(left(sound)) > 0.05


def test_a_connection_that_begins_without_preroll_is_a_contract_error() -> None:
    with pytest.raises(ContractError, match="expected it on a connection's first frame"):
        OpusDecoder().decode(1, pack_opus(encoded(0, 1)[0]))


def test_packets_that_are_none_are_a_contract_error() -> None:
    packets = encoded(0, 2)
    decoder = OpusDecoder()
    decoder.decode(1, pack_opus(packets[1], packets[0][-4:]))
    with pytest.raises(ContractError):
        decoder.decode(2, pack_opus([b"\xff\xff\xff"] * 5))
