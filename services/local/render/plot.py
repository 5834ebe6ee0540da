"""A picture of rendered sound and its score, by matplotlib (shell)."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from services.contract.spec import StreamSpec
from services.contract.timebase import SAMPLE_RATE_HZ
from services.local.render.loudness import gated_lufs, step_powers, windowed_lufs
from services.local.render.plot_form import draw_form, draw_roll
from services.local.render.plot_style import FAINT, INK, LAYERS, LINE, PANEL, PAPER, bars, clock, dress, label
from services.local.render.score_view import ScoreView, view_score
from services.synthesis.score.events import Layer
from services.synthesis.sound.loudness import LOUDEST_LUFS, QUIETEST_LUFS

_HEAT: Final = LinearSegmentedColormap.from_list(
    "embers", ["#0d0f17", "#1d1f45", "#4b2a78", "#9c3583", "#dd5f64", "#f6a562", "#fdf3c4"]
)

_FFT_FRAMES: Final = 8192
_LOWEST_HZ: Final = 30.0
_HIGHEST_HZ: Final = 20_000.0
_SPECTROGRAM_ROWS: Final = 360
_SPECTROGRAM_COLUMNS: Final = 1200
_FLOOR_DB: Final = -108.0
"""Level of the darkest colour."""
_TOP_DB: Final = -30.0
"""Level of the brightest colour."""
_HOUR_S: Final = 3600
_SHORT_TERM_S: Final = 3.0
_MOMENTARY_S: Final = 0.4


def draw(spec: StreamSpec, wav: Path, picture: Path, *, start_block: int) -> None:
    """Draw a rendered file and its score: chords and notes, waveform, spectrogram, loudness, layers, form of the hour.

    Args:
        spec: the stream that was rendered.
        wav: 16-bit stereo WAV file.
        picture: file to write; its suffix decides the format.
        start_block: first block of the file.

    Raises:
        OSError: a file cannot be read or written.
    """
    sound = _read(wav)
    seconds = len(sound) / SAMPLE_RATE_HZ
    powers = step_powers(wav)
    score = view_score(spec, start_block, seconds)
    figure = Figure(figsize=(16, 18), dpi=100, facecolor=PAPER)
    FigureCanvasAgg(figure)
    panels = figure.subplots(
        5, 1, sharex=True, height_ratios=(4.2, 1.1, 3.2, 1.5, 4.4),
        gridspec_kw={"left": 0.075, "right": 0.985, "top": 0.948, "bottom": 0.215, "hspace": 0.07},
    )  # fmt: skip
    hour = figure.add_axes((0.075, 0.03, 0.91, 0.155))
    for panel in (*panels, hour):
        dress(panel)
    _draw_score(panels[0], score, seconds)
    _draw_waveform(panels[1], sound, seconds)
    _draw_spectrogram(panels[2], sound, seconds)
    _draw_loudness(panels[3], powers)
    draw_roll(panels[4], spec, score, seconds)
    panels[4].set_xlim(0.0, seconds)
    panels[4].xaxis.set_major_formatter(FuncFormatter(clock))
    # The hour of the clock that the sound begins in, and longer only if the sound is.
    first = start_block // _HOUR_S * _HOUR_S
    length_s = max(_HOUR_S, start_block + seconds - first)
    draw_form(
        hour, view_score(spec, first, length_s), length_s, shown=(start_block - first, start_block - first + seconds)
    )
    figure.text(0.075, 0.972, f"{spec.title} · {spec.preset}", color=INK, fontsize=22, fontweight="bold", va="center")
    words = [f"{spec.key} {spec.mode}", f"{spec.bpm} bpm", f"intensity {spec.intensity:g}", f"seed {spec.seed}"]
    what = " · ".join(words + spec.options_in_words())
    peak_db = 20.0 * np.log10(max(float(np.abs(sound).max()), 1e-6))
    level = f"{gated_lufs(powers):.1f} LUFS · peak {peak_db:.1f} dBFS"
    figure.text(0.985, 0.972, f"{what}   |   {level}", color=FAINT, fontsize=13, va="center", ha="right")
    figure.savefig(picture, facecolor=PAPER)


def _read(wav: Path) -> NDArray[np.float32]:
    """The sound of a WAV file: float32 [frames, 2], full scale is 1."""
    with wave.open(str(wav)) as file:
        raw = file.readframes(file.getnframes())
        return np.frombuffer(raw, "<i2").reshape(-1, file.getnchannels()).astype(np.float32) / np.float32(32768)


def _draw_score(panel: Axes, score: ScoreView, seconds: float) -> None:
    label(panel, "score")
    loudest = max(float(score.gain.max(initial=0.0)), 1e-6)
    # Long quiet layers first, so that the melody lies on top.
    for layer in (Layer.DRONE, Layer.PAD, Layer.BASS, Layer.PULSE, Layer.SHIMMER, Layer.MELODY):
        places = score.of(layer)
        if not len(places):
            continue
        # A short note must stay visible.
        end_s = np.maximum(score.end_s[places], score.begin_s[places] + 0.002 * seconds)
        begin_s, pitch = score.begin_s[places], score.pitch_midi[places]
        alpha = 0.35 + 0.65 * np.sqrt(score.gain[places] / loudest)
        if layer in (Layer.DRONE, Layer.PAD):
            alpha *= 0.75
        bars(panel, begin_s, end_s, pitch, height=0.84, colour=LAYERS[layer], alpha=alpha)
        panel.plot([], [], color=LAYERS[layer], linewidth=6, label=layer.name.lower())
    low, high = float(score.pitch_midi.min(initial=36.0)), float(score.pitch_midi.max(initial=84.0))
    panel.set_ylim(low - 7.0, high + 12.0)
    octaves = [pitch for pitch in range(12, 120, 12) if low - 7.0 <= pitch <= high]
    panel.set_yticks(octaves, [f"C{pitch // 12 - 1}" for pitch in octaves])
    for at_s in score.parts:
        panel.axvline(at_s, color=FAINT, linewidth=0.7, alpha=0.4, linestyle=(0, (2, 4)))
    _write_chords(panel, score, seconds, high + 3.0)
    for section in score.sections:
        if section.at_s > 0.0:
            panel.axvline(section.at_s, color=INK, linewidth=1.1, alpha=0.8)
        panel.text(
            section.at_s + 0.004 * seconds, high + 11.2, section.text, color=INK, fontsize=15, va="top",
            fontweight="bold", clip_on=True,
        )  # fmt: skip
    panel.legend(
        loc="lower right", ncols=len(Layer), fontsize=9, labelcolor=INK, facecolor=PANEL, edgecolor=LINE,
        handlelength=1.2, borderaxespad=0.4,
    )  # fmt: skip


def _write_chords(panel: Axes, score: ScoreView, seconds: float, height: float) -> None:
    """Write each chord's name where it begins; leave out a name that would overlap the one before it."""
    free_s = -1.0
    for chord in score.chords:
        panel.plot([chord.at_s] * 2, [height - 1.5, height + 2.2], color=FAINT, linewidth=0.8, alpha=0.7)
        if chord.at_s < free_s:
            continue
        panel.text(
            chord.at_s + 0.003 * seconds, height, chord.text, color=INK, fontsize=10.5, va="bottom", clip_on=True
        )
        free_s = chord.at_s + (0.008 + 0.0062 * len(chord.text)) * seconds


def _draw_waveform(panel: Axes, sound: NDArray[np.float32], seconds: float) -> None:
    label(panel, "waveform")
    columns = min(2400, len(sound))
    edges = np.linspace(0, len(sound), columns + 1).astype(np.int64)[:-1]
    at_s = edges / SAMPLE_RATE_HZ
    for channel, colour in ((0, "#6fb7e9"), (1, "#c38ff0")):
        low = np.minimum.reduceat(sound[:, channel], edges)
        high = np.maximum.reduceat(sound[:, channel], edges)
        panel.fill_between(at_s, low, high, color=colour, alpha=0.6, linewidth=0, label=("left", "right")[channel])
    panel.set_ylim(-1.0, 1.0)
    panel.set_yticks([-0.5, 0.0, 0.5])
    panel.set_xlim(0.0, seconds)


def _draw_spectrogram(panel: Axes, sound: NDArray[np.float32], seconds: float) -> None:
    label(panel, "Hz")
    image = spectrogram_db(sound)
    panel.grid(visible=False)
    # The vertical axis is log2 of the frequency: the rows of an image are evenly spaced.
    low, high = np.log2(_LOWEST_HZ), np.log2(_HIGHEST_HZ)
    panel.imshow(
        image, origin="lower", aspect="auto", extent=(0.0, seconds, low, high), cmap=_HEAT, vmin=_FLOOR_DB,
        vmax=_TOP_DB, interpolation="bilinear",
    )  # fmt: skip
    ticks = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
    panel.set_yticks(np.log2(ticks), [f"{hz // 1000} k" if hz >= 1000 else str(hz) for hz in ticks])


def spectrogram_db(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Levels over time and pitch.

    Args:
        sound: float32 [frames, 2].

    Returns:
        float32 [rows, columns] in dB; a full-scale sine is about 0. Rows are evenly spaced in pitch from 30 Hz to
        20 kHz. A column is the mean power of its time, so that no short note is missed.
    """
    # Both ends are mirrored: a cut would look like a click.
    mono = np.pad(sound.mean(axis=1), _FFT_FRAMES // 2, mode="reflect" if len(sound) > _FFT_FRAMES else "constant")
    hop = int(min(max(len(sound) / (2 * _SPECTROGRAM_COLUMNS), 512), _FFT_FRAMES))
    starts = np.arange(0, max(len(sound), 1), hop)
    columns = min(len(starts), _SPECTROGRAM_COLUMNS)
    first = np.linspace(0, len(starts), columns + 1).astype(np.int64)
    window = np.hanning(_FFT_FRAMES).astype(np.float32)
    scale = 2.0 / float(window.sum())
    hz = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, _SPECTROGRAM_ROWS + 1)
    middle = np.sqrt(hz[1:] * hz[:-1])
    bins = middle * _FFT_FRAMES / SAMPLE_RATE_HZ
    # High rows span several bins and take the loudest; low rows lie between two bins and interpolate.
    edges = np.maximum(np.floor(hz * _FFT_FRAMES / SAMPLE_RATE_HZ).astype(np.int64), 1)
    wide = np.diff(edges) >= 2
    image = np.empty((_SPECTROGRAM_ROWS, columns), np.float32)
    for column in range(columns):
        power = np.zeros(_FFT_FRAMES // 2 + 1, np.float64)
        for start in starts[first[column] : first[column + 1]]:
            power += np.abs(np.fft.rfft(mono[start : start + _FFT_FRAMES] * window) * scale) ** 2
        power /= max(first[column + 1] - first[column], 1)
        between = np.interp(bins, np.arange(len(power)), power)
        highest = np.maximum.reduceat(power, edges[:-1])
        image[:, column] = 10.0 * np.log10(np.where(wide, highest, between) + 1e-14)
    return image


def _draw_loudness(panel: Axes, powers: NDArray[np.float64]) -> None:
    label(panel, "LUFS")
    # Intensity decides where in this band the music lies.
    panel.axhspan(QUIETEST_LUFS, LOUDEST_LUFS, color="#59cd90", alpha=0.10, linewidth=0)
    for window_s, colour, width, name in (
        (_MOMENTARY_S, "#56607a", 0.7, "momentary (0.4 s)"),
        (_SHORT_TERM_S, "#fac05e", 1.8, "short-term (3 s)"),
    ):
        at_s, levels = windowed_lufs(powers, window_s)
        panel.plot(at_s, np.maximum(levels, -70.0), color=colour, linewidth=width, label=name)
    panel.set_ylim(QUIETEST_LUFS - 11.0, LOUDEST_LUFS + 6.0)
    panel.legend(loc="lower right", ncols=2, fontsize=9, labelcolor=INK, facecolor=PANEL, edgecolor=LINE)
