"""Peers in the same run: two pieces of Csound (shell), pink noise and a plain sine organ (pure)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.music_report.sound import Sound, read_wav
from benchmarks.music_report.studio import NotMeasuredError

RATE_HZ: Final = 44_100
_PIECES: Final = ("xanadu", "trapped")
"""By Joseph Kung and Richard Boulanger; they come with Csound's examples."""
_EXAMPLES: Final = (Path("/usr/share/doc/csound/examples"), Path("/usr/share/doc/csound-doc/html/examples"))
_LIMIT_S: Final = 600.0
_RMS: Final = 0.1
_BAR_S: Final = 8.0
_FADE_S: Final = 0.5
_CHORDS_MIDI: Final = ((48, 55, 60, 63), (46, 53, 58, 62), (44, 51, 60, 63), (43, 50, 59, 62))
_PIPES: Final = ((1, 1.0), (2, 0.4), (3, 0.2))
"""(harmonic, amplitude)."""

PIECES: Final[Sequence[str]] = _PIECES


def csound_piece(name: str, path: Path) -> Sound:
    """Render a piece from Csound's examples to a 16-bit WAV file at `path`.

    Raises:
        NotMeasuredError: Csound or the piece is not here, or Csound fails.
    """
    binary = shutil.which("csound")
    if binary is None:
        raise NotMeasuredError("csound is not on PATH: install it from your distribution (csound)")
    source = next((folder / f"{name}.csd" for folder in _EXAMPLES if (folder / f"{name}.csd").is_file()), None)
    if source is None:
        raise NotMeasuredError(f"{name}.csd is not among Csound's examples: {', '.join(map(str, _EXAMPLES))}")
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(  # noqa: S603 - the program named above, on its own example
                [binary, "-d", "-m0", "-W", "-s", "-o", str(path.resolve()), str(source)],
                check=True,
                capture_output=True,
                timeout=_LIMIT_S,
                cwd=folder,
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise NotMeasuredError(f"csound does not render {source}: {error}") from None
    return read_wav(path)


def pink_noise(seconds: float, seed: int = 1) -> Sound:
    """Noise whose power falls by 3 dB an octave above 20 Hz, the sides unrelated; -20 dBFS RMS."""
    count = round(seconds * RATE_HZ)
    hz = np.fft.rfftfreq(count, 1 / RATE_HZ)
    white = np.random.default_rng(seed).standard_normal((2, count))
    pink = np.fft.irfft(np.fft.rfft(white) / np.sqrt(np.maximum(hz, 20.0)), count)
    return Sound(np.ascontiguousarray((_RMS * pink / pink.std()).T, dtype=np.float32), RATE_HZ)


def sine_organ(seconds: float) -> Sound:
    """Four chords in turn, eight seconds each, of four notes with three steady harmonics; mono, -20 dBFS RMS."""
    bar = np.arange(round(_BAR_S * RATE_HZ)) / RATE_HZ
    envelope = np.minimum(1.0, np.minimum(bar, bar[-1] - bar) / _FADE_S)
    bars = []
    for index in range(int(np.ceil(seconds / _BAR_S))):
        sound = np.zeros(len(bar))
        for note in _CHORDS_MIDI[index % len(_CHORDS_MIDI)]:
            hz = 440.0 * 2.0 ** ((note - 69) / 12)
            for harmonic, level in _PIPES:
                sound += level * envelope * np.sin(2.0 * np.pi * hz * harmonic * bar)
        bars.append(sound)
    organ = np.concatenate(bars)[: round(seconds * RATE_HZ)]
    return Sound(np.repeat((_RMS * organ / organ.std())[:, None], 2, axis=1).astype(np.float32), RATE_HZ)
