"""Rendering to a WAV file, as fast as the machine can (shell: writes a file)."""

from __future__ import annotations

import math
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from services.contract.spec import StreamSpec
from services.contract.timebase import BLOCK_FRAMES, CHANNELS, SAMPLE_BYTES, SAMPLE_RATE_HZ
from services.synthesis.device_selector import AutoDeviceSelector
from services.synthesis.render.renderer import Renderer

BATCH_BLOCKS: Final = 32
"""Consecutive blocks that are rendered together, because their reverb shares its history."""


@dataclass(frozen=True, slots=True)
class OfflineResult:
    """A file that was written.

    Attributes:
        seconds: of sound.
        wall_s: time that it took, without warm-up.
        peak: of full scale, 0 to 1.
        mode: "compiled" or "eager".
    """

    seconds: float
    wall_s: float
    peak: float
    mode: str

    @property
    def times_realtime(self) -> float:
        """Seconds of sound for each second of rendering."""
        return self.seconds / self.wall_s


def render_to_wav(
    spec: StreamSpec,
    seconds: float,
    path: Path,
    progress: Callable[[float], None] | None = None,
    *,
    start_block: int = 0,
    renderer: Renderer | None = None,
) -> OfflineResult:
    """Write a part of a stream as 16-bit stereo WAV: exactly the samples that a listener would get.

    Args:
        spec: the stream.
        seconds: length, more than 0 and at most a day.
        path: the file; replaced if it exists.
        progress: told how much is done, 0 to 1.
        start_block: the first block, in seconds since the epoch: the music that is live at that time.
        renderer: warmed up or not; None makes one on the best device of this machine.

    Raises:
        ValueError: `seconds` or `start_block` is out of range.
        OSError: the file cannot be written.
    """
    if not (0 < seconds <= 24 * 3600):
        raise ValueError(f"seconds: got {seconds}, expected more than 0 and at most a day")
    if start_block < 0:
        raise ValueError(f"start_block: got {start_block}, expected 0 or more")
    renderer = renderer or Renderer(AutoDeviceSelector().select_device())
    renderer.warm_up()
    frames = round(seconds * SAMPLE_RATE_HZ)
    blocks = math.ceil(frames / BLOCK_FRAMES)
    peak = 0.0
    started = time.perf_counter()
    with path.open("wb") as raw, wave.open(raw, "wb") as file:
        file.setnchannels(CHANNELS)
        file.setsampwidth(SAMPLE_BYTES)
        file.setframerate(SAMPLE_RATE_HZ)
        for first in range(0, blocks, BATCH_BLOCKS):
            batch = [(spec, start_block + block) for block in range(first, min(first + BATCH_BLOCKS, blocks))]
            rendered = renderer.render(batch)
            sound = rendered.pcm.reshape(-1, CHANNELS)[: frames - first * BLOCK_FRAMES]
            file.writeframes(np.ascontiguousarray(sound, dtype="<i2").tobytes())
            peak = max(peak, float(rendered.peak.max()))
            if progress:
                progress(min(1.0, (first + len(batch)) / blocks))
    return OfflineResult(frames / SAMPLE_RATE_HZ, time.perf_counter() - started, peak, renderer.mode)
