"""`python -m services.synthesis.render.calibrate` (shell): measure all presets, print the table of `sound.loudness`.

Loudness is measured by ITU-R BS.1770 (pyloudnorm, a development dependency) over stretches of 60 s from several
streams. The gain brings their mean to `target_lufs`: one loud passage of one stream does not make the others quiet.
The gain is applied before the limiter: run it twice, with the first table in place.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import pyloudnorm
from numpy.typing import NDArray

from services.contract.spec import INTENSITY_STEPS, KEYS, MODES, PRESETS, StreamSpec
from services.contract.timebase import CHANNELS, SAMPLE_RATE_HZ
from services.synthesis.device_selector import AutoDeviceSelector
from services.synthesis.render.renderer import Renderer
from services.synthesis.sound.loudness import GAIN_DB, INTENSITIES, target_lufs

_FIRST_BLOCK = 1_700_000_160
_STRETCH_S = 60


def stretch(renderer: Renderer, spec: StreamSpec, first_block: int, seconds: int = _STRETCH_S) -> NDArray[np.float64]:
    """`seconds` of a stream, float64 [frames, 2] of full scale."""
    parts = []
    for first in range(first_block, first_block + seconds, 30):
        count = min(30, first_block + seconds - first)
        rendered = renderer.render([(spec, first + i) for i in range(count)])
        parts.append(rendered.pcm.reshape(-1, CHANNELS) / 32768.0)
    return np.concatenate(parts)


def measure(renderer: Renderer, preset: str, intensity: float, streams: int) -> list[float]:
    """Loudness in LUFS of stretches from `streams` streams, spread over keys, modes, tempi and sections."""
    meter = pyloudnorm.Meter(SAMPLE_RATE_HZ)
    keys, result = tuple(KEYS), []
    for index in range(streams):
        spec = StreamSpec(
            key=keys[5 * index % len(keys)],
            mode=MODES[index % len(MODES)],
            bpm=60 + 17 * index % 60,
            intensity_steps=round(intensity * INTENSITY_STEPS),
            preset=preset,
            seed=1000 + index,
        )
        # Stretches of 60 s at different places of the section, so that its arc is averaged.
        sound = stretch(renderer, spec, _FIRST_BLOCK + 240 * index + 60 * (index % 4))
        result.append(float(meter.integrated_loudness(sound)))
    return result


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=12, help="stretches of 60 s for each preset and intensity")
    parser.add_argument("--presets", nargs="*", default=PRESETS)
    options = parser.parse_args(arguments)
    renderer = Renderer(AutoDeviceSelector().select_device(), max_streams=64)
    renderer.warm_up(lambda stage, _fraction: print(stage, file=sys.stderr))  # noqa: T201 - a tool
    for preset in options.presets:
        gains = []
        for place, intensity in enumerate(INTENSITIES):
            found = measure(renderer, preset, intensity, options.streams)
            gains.append(round(GAIN_DB[preset][place] + target_lufs(intensity) - float(np.mean(found)), 1))
            spread = f"{min(found):6.1f} to {max(found):6.1f} LUFS"
            print(f"{preset:10} intensity {intensity:.1f}: {spread}", file=sys.stderr, flush=True)  # noqa: T201
        print(f'    "{preset}": ({", ".join(str(gain) for gain in gains)}),', flush=True)  # noqa: T201 - its output


if __name__ == "__main__":
    main(sys.argv[1:])
