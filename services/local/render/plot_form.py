"""Pure. Panels of a picture that show who plays when: a piano roll for each layer, and the form of an hour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MultipleLocator

from services.contract.spec import StreamSpec
from services.local.render.form_view import STEP_S, form_of
from services.local.render.players import players_of
from services.local.render.plot_style import INK, LAYERS, LINE, PANEL, bars, clock, label
from services.local.render.score_view import ScoreView
from services.synthesis.score.events import Layer

_FROM_TOP: Final = (Layer.SHIMMER, Layer.MELODY, Layer.PULSE, Layer.PAD, Layer.BASS, Layer.DRONE)
"""The layers as in a score for players: the high ones above."""
_ROW: Final = 0.82
"""Height of a layer's row; the rest of 1 parts it from the next."""
_SHORTEST: Final = 0.0015
"""Width of the shortest note, as a share of the picture."""
_SMOOTH: Final = 3
"""Steps over which the density of onsets is averaged."""


def draw_roll(panel: Axes, spec: StreamSpec, score: ScoreView, seconds: float) -> None:
    """Draw a row for each layer: its notes over time, its lowest pitch at the bottom of the row."""
    label(panel, "layers and instruments")
    names = []
    for row, layer in enumerate(reversed(_FROM_TOP)):
        names.append(f"{layer.name.lower()}\n" + "\n".join(player.instrument for player in players_of(spec, layer)))
        own = score.of(layer)
        if row:
            panel.axhline(row, color=LINE, linewidth=1.0)
        if not len(own):
            continue
        pitch = score.pitch_midi[own]
        low, high = float(pitch.min()), float(pitch.max())
        height = _ROW / (high - low + 3.0)
        bars(
            panel,
            score.begin_s[own],
            np.maximum(score.end_s[own], score.begin_s[own] + _SHORTEST * seconds),
            row + (1.0 - _ROW) / 2 + (pitch - low + 1.5) * height,
            height=max(height * 0.9, 0.02),
            colour=LAYERS[layer],
            alpha=0.4 + 0.6 * np.sqrt(score.gain[own] / max(float(score.gain[own].max()), 1e-6)),
        )
    panel.set_ylim(0.0, len(names))
    panel.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=8.5)
    panel.grid(visible=False, axis="y")


def draw_form(panel: Axes, score: ScoreView, seconds: float, *, shown: tuple[float, float]) -> None:
    """Draw which layers sound, and how many notes begin, over a long span.

    Args:
        panel: to draw on.
        score: the span.
        seconds: its length.
        shown: from when to when the rest of the picture shows, in seconds of the span.
    """
    form = form_of(score, seconds)
    steps = form.sounding.shape[1]
    begin_s = np.arange(steps, dtype=np.float64) * np.float64(STEP_S)
    end_s = np.minimum(begin_s + STEP_S, seconds)
    rows: Mapping[Layer, int] = {layer: row for row, layer in enumerate(reversed(_FROM_TOP))}
    for layer, row in rows.items():
        held = form.sounding[layer]
        share = held / max(float(held.max()), 1e-6)
        bars(
            panel, begin_s, end_s, np.full(steps, row + 0.5), height=_ROW, colour=LAYERS[layer],
            alpha=np.where(held > 0.0, 0.12 + 0.88 * share, 0.0),
        )  # fmt: skip
    panel.set_ylim(0.0, len(rows) * 1.55)
    panel.set_yticks(np.arange(len(rows)) + 0.5, [layer.name.lower() for layer in rows], fontsize=8.5)
    panel.grid(visible=False, axis="y")
    density = np.convolve(form.onsets_per_minute.sum(axis=0), np.full(_SMOOTH, 1 / _SMOOTH), "same")
    top = max(float(density.max()), 1e-6)
    # Above the rows; the scale is written beside the curve, because the axis names the rows.
    base, height = len(rows) + 0.2, len(rows) * 0.42
    panel.fill_between(begin_s + STEP_S / 2, base, base + density / top * height, color=INK, alpha=0.35, linewidth=0)
    panel.text(
        0.004 * seconds, base + 0.1, f"notes that begin, up to {top:.0f} a minute", color=INK, fontsize=9, va="bottom",
        bbox={"facecolor": PANEL, "edgecolor": "none", "alpha": 0.75, "pad": 2.0},
    )  # fmt: skip
    for section in score.sections:
        panel.axvline(section.at_s, color=INK, linewidth=0.8, alpha=0.5)
        panel.text(
            section.at_s + 0.003 * seconds, len(rows) * 1.53, section.text, color=INK, fontsize=10, va="top",
            clip_on=True,
        )  # fmt: skip
    panel.axvspan(*shown, facecolor="none", edgecolor=INK, linewidth=1.6, zorder=4)
    label(panel, "form of the hour")
    panel.set_xlim(0.0, seconds)
    panel.xaxis.set_major_locator(MultipleLocator(300.0))
    panel.xaxis.set_major_formatter(FuncFormatter(clock))
