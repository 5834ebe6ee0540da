"""Single notes, dry, by fluidsynth (shell: runs it)."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

from scripts.instruments.catalogue import PACKAGES, Source

RATE_HZ: Final = 44_100
LEAD_S: Final = 0.5
"""Silence before each note."""
HELD_S: Final = 5.0
RELEASED_S: Final = 2.5
NOTE_S: Final = LEAD_S + HELD_S + RELEASED_S

_TICKS_PER_S: Final = 1_000


class MissingToolError(RuntimeError):
    """Something that the measurement needs is not installed; the message says what to install."""


def check_tools(sources: tuple[Source, ...]) -> None:
    """Say what is missing.

    Raises:
        MissingToolError: fluidsynth or a soundfont is not there.
    """
    missing = [] if shutil.which("fluidsynth") else ["fluidsynth"]
    missing += sorted({PACKAGES[source.soundfont] for source in sources if not source.soundfont.is_file()})
    if missing:
        raise MissingToolError(f"not found: {', '.join(missing)}; install with: apt-get install {' '.join(missing)}")


def record(source: Source, velocity: int) -> dict[int, NDArray[np.float64]]:
    """Play each pitch of `source` once.

    Args:
        source: what to play.
        velocity: MIDI velocity, 1 to 127.

    Returns:
        For each MIDI pitch float64 [NOTE_S * RATE_HZ], both channels mixed: LEAD_S of silence, HELD_S with the key
        down, RELEASED_S after it.
    """
    with tempfile.TemporaryDirectory(prefix="auralis-measure-") as folder:
        midi, wav = Path(folder) / "notes.mid", Path(folder) / "notes.wav"
        midi.write_bytes(midi_file(source, velocity))
        options = ["-ni", "-q", "-R", "0", "-C", "0", "-g", "0.6", "-r", str(RATE_HZ), "-O", "float", "-T", "wav"]
        subprocess.run(  # noqa: S603 - our own arguments
            ["fluidsynth", *options, "-F", str(wav), str(source.soundfont), str(midi)],  # noqa: S607 - from PATH
            check=True,
            capture_output=True,
        )
        with warnings.catch_warnings():
            # fluidsynth adds a chunk of its own, which scipy skips.
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            rate, samples = wavfile.read(wav)
    if rate != RATE_HZ:
        raise RuntimeError(f"fluidsynth wrote {rate} Hz, expected {RATE_HZ}")
    mono = np.asarray(samples, dtype=np.float64).mean(axis=1)
    frames = round(NOTE_S * RATE_HZ)
    mono = np.pad(mono, (0, max(0, frames * len(source.pitches) - len(mono))))
    return {pitch: mono[frames * i : frames * (i + 1)] for i, pitch in enumerate(source.pitches)}


def midi_file(source: Source, velocity: int) -> bytes:
    """A MIDI file of one track: the pitches one after the other."""
    events = [(0, bytes((0xB0, 0, source.bank))), (0, bytes((0xC0, source.program)))]
    for number, pitch in enumerate(source.pitches):
        start = round((number * NOTE_S + LEAD_S) * _TICKS_PER_S)
        events.append((start, bytes((0x90, pitch, velocity))))
        events.append((start + round(HELD_S * _TICKS_PER_S), bytes((0x80, pitch, 0))))
    end = round(len(source.pitches) * NOTE_S * _TICKS_PER_S)
    track, now = b"", 0
    # A tempo of one second a beat: a tick is a millisecond.
    for moment, event in [(0, b"\xff\x51\x03" + (1_000_000).to_bytes(3, "big")), *events, (end, b"\xff\x2f\x00")]:
        track += _variable_length(moment - now) + event
        now = moment
    head = b"MThd" + struct.pack(">IHHH", 6, 0, 1, _TICKS_PER_S)
    return head + b"MTrk" + struct.pack(">I", len(track)) + track


def _variable_length(value: int) -> bytes:
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(0x80 | (value & 0x7F))
    return bytes(reversed(parts))
