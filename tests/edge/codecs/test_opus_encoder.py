from __future__ import annotations

import numpy as np
import pytest

from services.contract.errors import ContractError
from services.contract.timebase import CHUNK_FRAMES, SAMPLE_RATE_HZ
from services.contract.websocket import OPUS_RATE_HZ, pack_opus, unpack_opus
from services.edge.codecs.opus_encoder import OpusEncoder
from tests.edge.codecs.support import decode_opus

TONE_HZ = 440


def chunk_pcm(index: int) -> bytes:
    frame = np.arange(index * CHUNK_FRAMES, (index + 1) * CHUNK_FRAMES)
    left = np.rint(8000 * np.sin(2 * np.pi * TONE_HZ * frame / SAMPLE_RATE_HZ)).astype("<i2")
    return np.stack([left, left // 2], axis=1).tobytes()


def test_a_chunk_is_five_packets_of_20_ms() -> None:
    encoder = OpusEncoder()
    encoded = [encoder.encode(chunk_pcm(index)) for index in range(10)]
    assert {len(packets) for packets in encoded} == {5}
    assert len(decode_opus(packet for packets in encoded for packet in packets)) == 10 * 4800
    # 128 kbit/s are 1.6 KB a chunk.
    assert 1200 < np.mean([sum(map(len, packets)) for packets in encoded[2:]]) < 2000


def test_a_tone_keeps_its_pitch_and_level() -> None:
    encoder = OpusEncoder()
    sound = decode_opus(packet for index in range(20) for packet in encoder.encode(chunk_pcm(index)))
    steady = sound[OPUS_RATE_HZ // 2 : OPUS_RATE_HZ // 2 + OPUS_RATE_HZ, 0]
    spectrum = np.abs(np.fft.rfft(steady * np.hanning(len(steady))))
    assert int(np.argmax(spectrum)) == TONE_HZ
    assert np.sqrt(np.mean(steady**2)) == pytest.approx(8000 / np.sqrt(2), rel=0.02)
    # Audible borders of chunks would be lines at multiples of 10 Hz; those at 50 Hz are the codec's packets.
    borders = [spectrum[TONE_HZ + 10 * step] for step in range(-20, 21) if step % 5]
    assert 20 * np.log10(max(borders) / spectrum.max()) < -50


def test_after_the_preroll_a_new_decoder_plays_what_the_old_one_plays() -> None:
    encoder = OpusEncoder()
    encoded = [encoder.encode(chunk_pcm(index)) for index in range(20)]
    whole = decode_opus(packet for packets in encoded for packet in packets)
    for start in (5, 11):
        joined = decode_opus([*encoded[start - 1][-4:], *(packet for packets in encoded[start:] for packet in packets)])
        heard = joined[4 * 960 :]
        difference = heard - whole[start * 4800 :]
        assert 20 * np.log10(np.sqrt(np.mean(difference**2)) / np.sqrt(np.mean(heard**2))) < -60


def test_half_a_chunk_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 17640"):
        OpusEncoder().encode(bytes(8820))


def test_the_format_of_a_payload_does_not_change() -> None:
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
