"""Pure. How busy each layer of a score is over time: the form of an hour at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.local.render.score_view import ScoreView
from services.synthesis.score.events import Layer

STEP_S: Final = 10.0
"""Resolution of the form."""


@dataclass(frozen=True, slots=True)
class FormView:
    """A score in steps of STEP_S.

    Attributes:
        onsets_per_minute: float64 [layers, steps]: notes that begin, by values of Layer.
        sounding: float64 [layers, steps]: mean number of notes that are held.
    """

    onsets_per_minute: NDArray[np.float64]
    sounding: NDArray[np.float64]


def form_of(score: ScoreView, seconds: float) -> FormView:
    """The form of the first `seconds` of `score`; the last step may be shorter, and is measured as short as it is."""
    edges = np.append(np.arange(0.0, seconds, STEP_S), seconds)
    lengths_s = np.diff(edges)
    onsets = np.zeros((len(Layer), len(lengths_s)))
    sounding = np.zeros_like(onsets)
    for layer in Layer:
        own = score.of(layer)
        begin_s, end_s = score.begin_s[own], score.end_s[own]
        # What sounds already at the beginning does not begin there.
        onsets[layer] = np.histogram(begin_s[begin_s > 0.0], edges)[0] * 60.0 / lengths_s
        # Time that notes have been held up to each edge, summed over notes; its growth within a step is the step's.
        held_s = np.clip(edges[:, None], begin_s, end_s).sum(axis=1)
        sounding[layer] = np.diff(held_s) / lengths_s
    return FormView(onsets, sounding)
