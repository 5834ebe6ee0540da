"""Decoding, for tests of encoders."""

from __future__ import annotations

from collections.abc import Iterable

import av
import numpy as np

from services.contract.websocket import OPUS_RATE_HZ


def decode_opus(packets: Iterable[bytes]) -> np.ndarray:
    """Samples of the packets, float64 [frames, 2] at 48 kHz."""
    codec = av.CodecContext.create("libopus", "r")
    codec.sample_rate, codec.layout = OPUS_RATE_HZ, "stereo"
    parts = [frame.to_ndarray().reshape(-1, 2) for packet in packets for frame in codec.decode(av.Packet(packet))]
    return np.concatenate(parts).astype(np.float64)
