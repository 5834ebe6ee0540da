"""Stems: the layers of a stream one by one, whose sum is the stream before its level stage (shell: renders)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from services.contract.spec import LAYERS, StreamSpec
from services.contract.timebase import BLOCK_FRAMES, CHANNELS, SAMPLE_RATE_HZ
from services.synthesis.render.offline import BATCH_BLOCKS
from services.synthesis.render.renderer import Renderer


def stem_specs(spec: StreamSpec) -> dict[str, StreamSpec]:
    """The stream of each layer alone, at its level in `spec`; layers that are silent there are left out."""
    levels = spec.levels
    return {
        layer: spec.updated({"levels": {**dict.fromkeys(LAYERS, 0), layer: levels[layer]}})
        for layer in LAYERS
        if levels[layer] > 0
    }


def render_stems(
    spec: StreamSpec, seconds: float, *, start_block: int, renderer: Renderer
) -> Iterator[tuple[float, dict[str, NDArray[np.float32]]]]:
    """Render the stems of a span, a part at a time.

    Args:
        spec: the stream.
        seconds: length, more than 0.
        start_block: the first block, in seconds since the epoch.
        renderer: warmed up or not.

    Yields:
        How much is done, 0 to 1, and the next part of each layer: float32 [frames, 2]; full scale is 1, and louder
        than that is possible.

    Raises:
        ValueError: `seconds` or `start_block` is out of range.
    """
    if not seconds > 0:
        raise ValueError(f"seconds: got {seconds}, expected more than 0")
    if start_block < 0:
        raise ValueError(f"start_block: got {start_block}, expected 0 or more")
    frames = round(seconds * SAMPLE_RATE_HZ)
    blocks = math.ceil(frames / BLOCK_FRAMES)
    layers = stem_specs(spec)
    for first in range(0, blocks, BATCH_BLOCKS):
        numbers = range(start_block + first, start_block + min(first + BATCH_BLOCKS, blocks))
        part = {
            layer: renderer.sums([(own, number) for number in numbers]).reshape(-1, CHANNELS)[
                : frames - first * BLOCK_FRAMES
            ]
            for layer, own in layers.items()
        }
        yield min(1.0, (first + len(numbers)) / blocks), part
