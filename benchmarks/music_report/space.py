"""Space: how long a room rings, how bright it is, how much of a note is left. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np

from benchmarks.music_report.sound import Sound, band, level_db, spectral_level_db

OCTAVE_500_HZ: Final = (354.0, 707.0)
HIGH_HZ: Final = (4_000.0, 10_000.0)
_HIGH_LEAST_HZ: Final = 9_000.0
"""A response that ends below this has no 4 to 10 kHz to be measured."""
WET_ABOVE_HZ: Final = 4_100.0
LIMITER_KNEE: Final = 0.5
"""Of full scale: below it the renderer's limiter does nothing."""
_FIT_DB: Final = (-5.0, -35.0)
_NOTE_S: Final = 0.5
_TAIL_S: Final = 0.3


def t30_s(response: Sound, low_hz: float, high_hz: float) -> float:
    """Time in which an impulse response decays by 60 dB in a band, from its decay between -5 and -35 dB (ISO 3382).

    Schroeder's backward integral of both channels' squares. NaN where the band lies beyond what the response holds or
    35 dB are never reached.
    """
    if high_hz > _HIGH_LEAST_HZ > response.rate_hz / 2:
        return float("nan")
    heard = band(response.samples, response.rate_hz, low_hz, high_hz).astype(np.float64)
    left = np.cumsum((heard**2).sum(axis=1)[::-1])[::-1]
    level = 10.0 * np.log10(left / left[0] + 1e-20)
    below = [int(np.argmax(level <= limit)) for limit in _FIT_DB]
    if not all(below):
        return float("nan")
    first, last = below
    slope = np.polyfit(np.arange(first, last) / response.rate_hz, level[first:last], 1)[0]
    return float(-60.0 / slope)


def wet_db(full: Sound, dry: Sound) -> float:
    """Level of the room above 4.1 kHz against everything else there, in dB: (full - dry) against dry.

    Only seconds whose peaks stay below half of full scale in both count: above, the limiter bends each of them in
    another way, and its harmonics would be taken for the room. NaN where there are none. Rounding to 16
    bits leaves noise of -98 dBFS in the difference: a quieter room cannot be told from it.
    """
    wet_power = dry_power = 0.0
    for heard, rest in zip(full.cut(1.0), dry.cut(1.0), strict=True):
        if max(np.abs(heard.samples).max(), np.abs(rest.samples).max()) >= LIMITER_KNEE:
            continue
        wet = Sound(heard.samples - rest.samples, full.rate_hz)
        wet_power += 10.0 ** (spectral_level_db(wet, WET_ABOVE_HZ) / 10.0)
        dry_power += 10.0 ** (spectral_level_db(rest, WET_ABOVE_HZ) / 10.0)
    return float(10.0 * np.log10(wet_power / dry_power)) if dry_power else float("nan")


def tail_db(note: Sound, release_s: float, after_s: float) -> float:
    """Level `after_s` after a lone note's key is let go, in dB of its level in the half second before that.

    Args:
        note: the note alone.
        release_s: when the key is let go.
        after_s: the level is that of 0.3 s from here on.
    """
    held = level_db(note.part(release_s - _NOTE_S, release_s).samples)
    left = level_db(note.part(release_s + after_s, release_s + after_s + _TAIL_S).samples)
    return left - held
