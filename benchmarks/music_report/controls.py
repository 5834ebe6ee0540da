"""Controls: how far a stream's sound follows what a listener sets, and what each layer is in it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any, Final

import numpy as np
from scipy import signal

from benchmarks.music_report.air import air_levels_db
from benchmarks.music_report.dynamics import integrated_lufs
from benchmarks.music_report.low_end import centroid_hz
from benchmarks.music_report.sound import Levels, Sound, decibels, level_db, spectral_level_db
from services.contract.spec import LAYERS, OWN_TEXTURE, TEXTURES

_TOGETHER_S: Final = 0.05
"""Notes that begin within this time are heard as one onset."""
_FRAMES: Final = 4096
_HOP: Final = 1024
_RISE_HOPS: Final = 3
_RISE_DB: Final = 12.0
_FAINT_DB: Final = -70.0
_BESIDE_DB: Final = 30.0
"""A line this far below the loudest one of its moment is not heard beside it."""
_STRUCK_ALONE: Final = {"drone": 0, "pad": 0, "air": 0}
"""Levels without the texture and what is bowed or sung: their lines rise all the time."""
_LOWEST_HZ: Final = 200.0
_THIRD_OCTAVES: Final = 18
"""From 200 Hz to 12.8 kHz."""
_NOTHING_DB: Final = -70.0
"""What changes by less is dither."""


@dataclass(frozen=True, slots=True)
class Control:
    """One control.

    Attributes:
        row: of the table.
        settings: parameters of a spec; from the low end to the high end where there are two.
        effect: of the sounds with these settings, in the row's unit.
    """

    row: str
    settings: Sequence[Mapping[str, Any]]
    effect: Callable[[Sequence[Sound]], float]


def centroid_change_percent(sounds: Sequence[Sound]) -> float:
    """How much higher the spectral centroid of the second of two sounds is, in percent of that of the first."""
    low, high = sounds
    return 100.0 * (centroid_hz(high) / centroid_hz(low) - 1.0)


def air_change_db(sounds: Sequence[Sound]) -> float:
    """How much louder the second of two sounds is above 5 kHz, in dB."""
    before, after = air_levels_db(sounds)
    return float(after - before)


def more_beginnings_per_min(sounds: Sequence[Sound]) -> float:
    """How many more lines of the spectrum begin in the second of two sounds, a minute."""
    low, high = sounds
    return beginnings_per_min(high) - beginnings_per_min(low)


def beginnings_per_min(sound: Sound) -> float:
    """How many lines of the spectrum rise by 12 dB within 70 ms and are heard, a minute.

    It counts lines, of which a note has several, and not moments: in soft music no moment stands out of the others.
    """
    _, _, power = signal.spectrogram(
        sound.mono, sound.rate_hz, "hann", _FRAMES, _FRAMES - _HOP, scaling="spectrum", mode="psd"
    )
    level_db = decibels(power[: _FRAMES // 3])
    before, after = level_db[1:-1, :-_RISE_HOPS], level_db[:, _RISE_HOPS:]
    line = (after[1:-1] > after[:-2]) & (after[1:-1] > after[2:])
    line &= after[1:-1] > np.maximum(after.max(axis=0) - _BESIDE_DB, _FAINT_DB)
    rises = line & (after[1:-1] - before > _RISE_DB)
    return 60.0 * float((rises[:, 1:] & ~rises[:, :-1]).sum()) / sound.seconds


def least_difference_db(sounds: Sequence[Sound]) -> float:
    """How far the spectra of the two most similar sounds differ: RMS over third octaves, in dB."""
    spectra = [third_octaves_db(sound) for sound in sounds]
    return float(min(np.sqrt(((one - two) ** 2).mean()) for one, two in combinations(spectra, 2)))


def third_octaves_db(sound: Sound) -> Levels:
    """Level of each third of an octave from 200 Hz to 12.8 kHz, in dBFS: float64 [18]."""
    edges = _LOWEST_HZ * 2.0 ** (np.arange(_THIRD_OCTAVES + 1) / 3.0)
    return np.array([spectral_level_db(sound, low, high) for low, high in pairwise(edges)])


def onsets(moments_s: Sequence[float]) -> int:
    """How many onsets are heard of notes that begin at `moments_s`: those within 50 ms count once."""
    count, last_s = 0, -np.inf
    for moment_s in sorted(moments_s):
        if moment_s - last_s > _TOGETHER_S:
            count, last_s = count + 1, moment_s
    return count


@dataclass(frozen=True, slots=True)
class Muting:
    """What is different without a layer.

    Attributes:
        share_db: level of what is missing, relative to the whole; NaN where nothing is.
        loudness_lu: by how much the rest is louder (less than 0: quieter).
        centroid_percent: how much higher the centroid of the rest is.
    """

    share_db: float
    loudness_lu: float
    centroid_percent: float

    @property
    def note(self) -> str:
        """What the share does not tell."""
        return f"without it: {self.loudness_lu:+.1f} LU, centroid {self.centroid_percent:+.0f} %"


def muting(whole: Sound, rest: Sound) -> Muting:
    """Compare a sound with what is left of it without one layer; both begin at the same moment."""
    share_db = level_db(whole.samples - rest.samples) - level_db(whole.samples)
    return Muting(
        share_db if share_db > _NOTHING_DB else float("nan"),
        integrated_lufs(rest) - integrated_lufs(whole),
        centroid_change_percent((whole, rest)),
    )


LAYER_ROWS: Final = {layer: f"layers.{layer}" for layer in LAYERS}
"""Layer -> row."""

CONTROLS: Final = (
    Control("controls.brightness", ({"brightness": 0.0}, {"brightness": 1.0}), centroid_change_percent),
    Control(
        "controls.density",
        ({"density": 0.0, "levels": _STRUCK_ALONE}, {"density": 1.0, "levels": _STRUCK_ALONE}),
        more_beginnings_per_min,
    ),
    Control(
        "controls.texture",
        [{"texture": kind} for kind in TEXTURES if kind != OWN_TEXTURE],
        least_difference_db,
    ),
    Control("controls.texture_level", ({"levels": {"air": 0.0}}, {"levels": {"air": 1.5}}), air_change_db),
)
"""What is heard of each control."""
