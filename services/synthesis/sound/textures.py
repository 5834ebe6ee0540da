"""Pure. Textures: loops of rain, sea, wind, fire, vinyl and night insects, made of hashed grains and filtered noise.

A stream hears two grains of its loop at a time, six seconds each, cut out at places drawn by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.timebase import SAMPLE_RATE_HZ
from services.synthesis.dsp.grid import QUARTER, TEXTURE_FRAMES, TEXTURE_S, TEXTURE_STEP

Floats = NDArray[np.float32]
Random = np.random.Generator

_FRAMES: Final = TEXTURE_S * SAMPLE_RATE_HZ
_CREST: Final = 9.0
"""Peak of a texture against its RMS at most."""
_LOWEST_HZ: Final = 160.0
"""Below it everything is in the middle, and a texture is not."""


def _band(sound: Floats, low_hz: float, high_hz: float, slope_db: float = 24.0) -> Floats:
    """`sound` between two frequencies, falling by `slope_db` an octave outside."""
    octave = _octaves()
    outside = np.maximum(np.log2(low_hz) - octave, 0.0) + np.maximum(octave - np.log2(high_hz), 0.0)
    return _float(np.fft.irfft(np.fft.rfft(sound) * _float(10.0 ** (-slope_db * outside / 20.0)), n=_FRAMES))


@cache
def _octaves() -> NDArray[np.float64]:
    return np.asarray(np.log2(np.maximum(np.fft.rfftfreq(_FRAMES, 1.0 / SAMPLE_RATE_HZ), 1e-3)))


def _float(values: NDArray[np.floating]) -> Floats:
    return np.asarray(values, dtype=np.float32)


def _slow(generator: Random, period_s: float) -> Floats:
    """A smooth curve between 0 and 1 that wanders within about `period_s`: [frames]."""
    points = generator.random(int(TEXTURE_S / period_s * 2.0) + 4)
    place = np.linspace(0.0, len(points) - 1.001, _FRAMES)
    whole = place.astype(int)
    part = place - whole
    part = part * part * (3.0 - 2.0 * part)
    return _float(points[whole] * (1.0 - part) + points[whole + 1] * part)


def _grains(generator: Random, per_s: float, tau_s: float, power: float = 2.0) -> Floats:
    """Noise that begins anew at moments of chance and dies within `tau_s`: [frames]."""
    count = int(per_s * TEXTURE_S)
    clicks = np.zeros(_FRAMES, dtype=np.float32)
    np.add.at(clicks, generator.integers(0, _FRAMES, count), generator.random(count) ** power)
    tail = _float(np.exp(-np.arange(int(7 * tau_s * SAMPLE_RATE_HZ) + 1) / (tau_s * SAMPLE_RATE_HZ)))
    envelope = np.fft.irfft(np.fft.rfft(clicks) * np.fft.rfft(tail, _FRAMES), n=_FRAMES)
    return _float(envelope * _noise(generator))


def _noise(generator: Random) -> Floats:
    return generator.standard_normal(_FRAMES, dtype=np.float32)


def _rain(generator: Random) -> Floats:
    drops = _band(_grains(generator, 320.0, 0.0012), 1_200.0, 9_000.0)
    heavy = _band(_grains(generator, 9.0, 0.008), 500.0, 2_500.0)
    return _mix((drops, 1.0), (heavy, 0.35), (_band(_noise(generator), 400.0, 7_000.0, 9.0), 0.45))


def _sea(generator: Random) -> Floats:
    swell = _slow(generator, 8.0) ** 2
    body = _band(_noise(generator), 180.0, 900.0, 9.0) * (0.25 + swell)
    foam = _band(_noise(generator), 1_500.0, 9_000.0, 9.0) * np.roll(swell, SAMPLE_RATE_HZ // 2) ** 1.5
    return _mix((body, 1.0), (foam, 0.6))


def _wind(generator: Random) -> Floats:
    gusts = [
        (_band(_noise(generator), hz, 1.5 * hz, 18.0), _slow(generator, 5.0) ** 2) for hz in (180, 320, 560, 950, 1_700)
    ]
    total = np.sum([sound * level * 0.8**place for place, (sound, level) in enumerate(gusts)], axis=0)
    return _mix((_float(total), 1.0), (_band(_noise(generator), 2_500.0, 8_000.0, 9.0) * _slow(generator, 4.0), 0.12))


def _fire(generator: Random) -> Floats:
    crackle = _band(_grains(generator, 22.0, 0.0015, 6.0), 1_500.0, 10_000.0) * (0.3 + _slow(generator, 1.5))
    pops = _band(_grains(generator, 3.0, 0.006, 4.0), 400.0, 3_000.0)
    roar = _band(_noise(generator), 170.0, 500.0, 9.0) * (0.5 + 0.5 * _slow(generator, 2.0))
    return _mix((crackle, 1.0), (pops, 0.6), (roar, 0.5))


def _vinyl(generator: Random) -> Floats:
    ticks = _band(_grains(generator, 7.0, 0.0006, 5.0), 800.0, 9_000.0)
    dust = _band(_grains(generator, 60.0, 0.0004, 3.0), 2_000.0, 12_000.0)
    return _mix(
        (ticks, 1.0), (dust, 0.4), (_band(_noise(generator), 500.0, 9_000.0, 6.0) * (0.7 + _slow(generator, 3.0)), 0.5)
    )


def _insects(generator: Random) -> Floats:
    time_s = np.arange(_FRAMES) / SAMPLE_RATE_HZ
    total = np.zeros(_FRAMES, dtype=np.float32)
    for hz in (3_300.0, 4_150.0, 4_800.0, 6_100.0):
        rate_hz = generator.uniform(17.0, 34.0)
        pulse = _float(np.clip(np.sin(2.0 * np.pi * (rate_hz * time_s + generator.random())), 0.0, 1.0) ** 2)
        group = _float(
            np.clip(np.sin(2.0 * np.pi * (generator.uniform(0.5, 1.6) * time_s + generator.random())) + 0.3, 0.0, 1.0)
        )
        total += _band(_noise(generator), 0.99 * hz, 1.01 * hz, 60.0) * pulse * group * _slow(generator, 6.0)
    return _mix((total, 1.0), (_band(_noise(generator), 300.0, 3_000.0, 6.0), 0.12))


def _mix(*parts: tuple[Floats, float]) -> Floats:
    """Sounds, each brought to an RMS of 1 first, at their levels."""
    return _float(sum(level * sound / np.sqrt((sound**2).mean()) for sound, level in parts))


MAKERS: Final[Mapping[str, Callable[[Random], Floats]]] = {
    "rain": _rain,
    "sea": _sea,
    "wind": _wind,
    "fire": _fire,
    "vinyl": _vinyl,
    "insects": _insects,
}
NAMES: Final = tuple(MAKERS)
LOOP_NUMBERS: Final = QUARTER * TEXTURE_FRAMES
"""Numbers of one loop, a stereo frame each."""


@cache
def loops() -> NDArray[np.float32]:
    """All loops in the order of NAMES, float32 [textures, 2 channels, QUARTER, TEXTURE_FRAMES], RMS 1.

    Frame `4 * last + phase`, as the kernels number frames. It takes about a second.
    """
    result = np.empty((len(NAMES), 2, QUARTER, TEXTURE_FRAMES), dtype=np.float32)
    for number, name in enumerate(NAMES):
        for channel in range(2):
            generator = np.random.Generator(np.random.Philox(key=1_000 * number + channel))
            sound = _band(MAKERS[name](generator), _LOWEST_HZ, 16_000.0)
            for _ in range(2):
                sound /= np.sqrt((sound**2).mean())
                # A crackle that stands out by more would be a click.
                sound = _float(_CREST * np.tanh(sound / _CREST))
            sound /= np.sqrt((sound**2).mean())
            result[number, channel] = sound.reshape(TEXTURE_FRAMES, QUARTER).T
    return result


def packed_loops() -> NDArray[np.int32]:
    """All loops as `dsp.level.texture` reads them: int32 [textures * LOOP_NUMBERS]."""
    steps = np.rint(loops() * (1.0 / TEXTURE_STEP)).astype(np.int32)
    return np.asarray((steps[:, 0] & 0xFFFF) | (steps[:, 1] << 16)).reshape(-1)
