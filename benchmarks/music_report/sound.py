"""Sound in memory: reading WAV files, bands, levels over time. Pure but for reading the file."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import signal

Samples = NDArray[np.float32]
Levels = NDArray[np.float64]

SILENT: Final = 1e-12
"""Added to a mean square before its logarithm: -120 dBFS."""
_SPECTRUM_FRAMES: Final = 8192


@dataclass(frozen=True, slots=True)
class Sound:
    """A stretch of stereo sound.

    Attributes:
        samples: float32 [frames, 2] of full scale.
        rate_hz: frames per second.
    """

    samples: Samples
    rate_hz: int

    @property
    def seconds(self) -> float:
        """Length."""
        return len(self.samples) / self.rate_hz

    @property
    def mono(self) -> Samples:
        """Mean of both channels, float32 [frames]."""
        return np.asarray(self.samples.mean(axis=1), dtype=np.float32)

    def part(self, start_s: float, end_s: float) -> Sound:
        """From `start_s` to `end_s`, or as much of that as there is."""
        first, last = (round(at * self.rate_hz) for at in (start_s, end_s))
        return Sound(self.samples[max(first, 0) : max(last, 0)], self.rate_hz)

    def cut(self, window_s: float) -> list[Sound]:
        """Whole windows of `window_s`, one after the other."""
        count = int(self.seconds / window_s + 1e-9)
        return [self.part(i * window_s, (i + 1) * window_s) for i in range(count)]


def join(parts: Sequence[Sound]) -> Sound:
    """Stretches of one rate, one after the other."""
    return Sound(np.concatenate([part.samples for part in parts]), parts[0].rate_hz)


def read_wav(path: Path) -> Sound:
    """Read a 16-bit WAV file; one channel is heard on both sides.

    Raises:
        ValueError: the file is not 16-bit.
        OSError, wave.Error: it cannot be read.
    """
    with wave.open(str(path)) as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"{path}: got {8 * file.getsampwidth()}-bit samples, expected 16-bit")
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
        return Sound(from_pcm(samples if samples.shape[1] > 1 else samples.repeat(2, axis=1)), file.getframerate())


def write_wav(path: Path, sound: Sound) -> None:
    """Write `sound` as 16-bit stereo WAV; what is beyond full scale is clipped.

    Raises:
        OSError: it cannot be written.
    """
    words = np.rint(np.clip(sound.samples, -1.0, 1.0) * 32_767.0).astype("<i2")
    with path.open("wb") as raw, wave.open(raw, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(sound.rate_hz)
        file.writeframes(words.tobytes())


def from_pcm(pcm: NDArray[Any]) -> Samples:
    """float32 [frames, 2] of full scale from 16-bit samples of any shape that ends in 2 channels or more."""
    return pcm.reshape(-1, pcm.shape[-1])[:, :2].astype(np.float32) / np.float32(32_768.0)


def band(samples: Samples, rate_hz: int, low_hz: float, high_hz: float) -> Samples:
    """The part of `samples` [frames, ...] between two frequencies; 24 dB an octave beyond them.

    Args:
        samples: any number of channels.
        rate_hz: frames per second.
        low_hz: 0 for all below `high_hz`.
        high_hz: half of `rate_hz` or more for all above `low_hz`.
    """
    if high_hz >= rate_hz / 2:
        design = signal.butter(4, low_hz, "highpass", fs=rate_hz, output="sos")
    elif low_hz <= 0:
        design = signal.butter(4, high_hz, "lowpass", fs=rate_hz, output="sos")
    else:
        # A band-pass has the order given on either side.
        design = signal.butter(4, [low_hz, high_hz], "bandpass", fs=rate_hz, output="sos")
    return np.asarray(signal.sosfilt(design, samples, axis=0), dtype=np.float32)


def decibels(power: NDArray[Any] | float) -> Levels:
    """10 log10 of a mean square, never below -120 dB."""
    return np.asarray(10.0 * np.log10(np.asarray(power, dtype=np.float64) + SILENT))


def levels_db(samples: Samples, rate_hz: int, window_s: float) -> Levels:
    """Level in dBFS of each whole window, both channels together: float64 [windows]."""
    size = round(window_s * rate_hz)
    count = len(samples) // size
    squares = np.square(samples[: count * size], dtype=np.float64).reshape(count, -1)
    return decibels(squares.mean(axis=1))


def level_db(samples: Samples) -> float:
    """Level in dBFS of all of `samples`."""
    return float(decibels(np.square(samples, dtype=np.float64).mean())) if samples.size else float(decibels(0.0))


def spectral_level_db(sound: Sound, low_hz: float, high_hz: float = np.inf) -> float:
    """Level in dBFS, both channels together, of what lies between two frequencies.

    From mean spectra with a window whose side lobes are 92 dB down: a filter's slope would let loud low tones through,
    60 dB above what is asked for.
    """
    frames = min(_SPECTRUM_FRAMES, len(sound.samples))
    hz, density = signal.welch(sound.samples, sound.rate_hz, "blackmanharris", frames, frames // 2, axis=0)
    heard = density[(hz >= low_hz) & (hz <= high_hz)].mean(axis=1)
    return float(decibels(heard.sum() * (hz[1] - hz[0])))
