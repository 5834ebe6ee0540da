"""Pictures: a minute of a preset, an hour of its loudness, a peer beside it; single notes. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import signal

from benchmarks.music_report.dynamics import SHORT_TERM_S, loudness_lufs
from benchmarks.music_report.sound import Levels, Sound

_FRAMES: Final = 8192
_COLUMNS: Final = 900
_ROWS: Final = 320
_LOW_HZ: Final = 30.0
_HIGH_HZ: Final = 16_000.0
_RANGE_DB: Final = 75.0
_TICKS_HZ: Final = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
_MINUTE_S: Final = 60.0


def draw(
    path: Path, name: str, minute: Sound, hour: tuple[Sequence[float], Sequence[Sound]], peer: tuple[str, Sound] | None
) -> None:
    """Draw a preset, and a peer beside it.

    Args:
        path: of the picture.
        name: of the preset.
        minute: its first minute is drawn.
        hour: windows of an hour and where they begin, in seconds.
        peer: name and sound, or None where there is none.

    Raises:
        OSError: the picture cannot be written.
    """
    figure = Figure(figsize=(15, 7.5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2 if peer else 1, squeeze=False, height_ratios=(2.2, 1.0))
    _spectrogram(panels[0][0], minute, f"{name}: a minute")
    starts_s, windows = hour
    _loudness(
        panels[1][0],
        [start_s / 60.0 for start_s in starts_s],
        [np.max(loudness_lufs(window, SHORT_TERM_S), initial=-70.0) for window in windows],
        f"{name}: loudness of {len(windows)} windows within an hour",
    )
    if peer:
        title, sound = peer
        _spectrogram(panels[0][1], sound, f"{title}: a minute")
        loudness = loudness_lufs(sound, SHORT_TERM_S)
        _loudness(panels[1][1], list(np.arange(len(loudness)) / 600.0), loudness, f"{title}: loudness of the piece")
    figure.savefig(path)


def draw_notes(path: Path, columns: Sequence[str], notes: Mapping[str, Sequence[Sound]]) -> None:
    """Draw a sheet of spectrograms: a row for each instrument; its notes share their colours, so that soft is darker.

    Args:
        path: of the picture.
        columns: how the notes are played.
        notes: by instrument, as many as `columns`.

    Raises:
        OSError: the picture cannot be written.
    """
    figure = Figure(figsize=(14, 1.7 * len(notes) + 0.6), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(notes), len(columns), squeeze=False, sharex=True, sharey=True)
    for row, (name, sounds) in zip(panels, notes.items(), strict=True):
        images = [spectrogram_db(sound) for sound in sounds]
        top = max(float(image.max()) for image in images)
        for panel, image, sound in zip(row, images, sounds, strict=True):
            _image(panel, image, sound.seconds, top)
        row[0].set_ylabel(name)
    for panel, column in zip(panels[0], columns, strict=True):
        panel.set_title(column)
    for panel in panels[-1]:
        panel.set_xlabel("s")
    figure.savefig(path)


def spectrogram_db(sound: Sound) -> Levels:
    """float64 [rows, columns] in dB: rows evenly spaced in pitch from 30 Hz to 16 kHz, columns in time."""
    hop = max(1, int(len(sound.samples) / _COLUMNS))
    hz, _, power = signal.spectrogram(
        np.pad(sound.mono, _FRAMES // 2), sound.rate_hz, "hann", _FRAMES, max(0, _FRAMES - hop), scaling="spectrum"
    )
    edges = np.geomspace(_LOW_HZ, _HIGH_HZ, _ROWS + 1)
    rows = []
    for low, high in pairwise(edges):
        first, last = np.searchsorted(hz, (low, high))
        # Narrow rows low down lie between two bins, wide ones high up take the loudest of theirs.
        rows.append(power[first:last].max(axis=0) if last > first else power[min(first, len(hz) - 1)])
    return np.asarray(10.0 * np.log10(np.array(rows) + 1e-14))


def _spectrogram(panel: Axes, sound: Sound, title: str) -> None:
    minute = sound.part(0.0, _MINUTE_S)
    image = spectrogram_db(minute)
    _image(panel, image, minute.seconds, float(image.max()))
    panel.set(title=title, xlabel="s", ylabel="Hz")


def _image(panel: Axes, image: Levels, seconds: float, top_db: float) -> None:
    extent = (0.0, seconds, float(np.log2(_LOW_HZ)), float(np.log2(_HIGH_HZ)))
    panel.imshow(
        image, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=top_db - _RANGE_DB, vmax=top_db
    )
    panel.set_yticks(np.log2(_TICKS_HZ), [f"{hz // 1000} k" if hz >= 1000 else str(hz) for hz in _TICKS_HZ])


def _loudness(panel: Axes, minutes: Sequence[float], lufs: Sequence[float] | Levels, title: str) -> None:
    panel.plot(minutes, np.maximum(lufs, -50.0), linewidth=1.2)
    panel.set(title=title, xlabel="min", ylabel="LUFS", ylim=(-40.0, -8.0))
    panel.grid(visible=True, alpha=0.3)
